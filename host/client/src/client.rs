//! Requests to the Kubernetes API, with objects as JSON values.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::resource::push_escaped;
use crate::{ApiResource, Body, ClientError, Follow, StatusError, Transport, Watch};

/// How long a request that is no watch may take: the API server's own limit for such requests.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How large an answer that is no watch may be; larger collections are to be listed in pages.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Speaks the Kubernetes API over a [`Transport`]. Clones share it.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    user_agent: Arc<str>,
}

/// What a list or watch selects.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `a=b,c in (d, e)`; empty selects everything.
    pub label_selector: String,
    /// `spec.nodeName=n`; empty selects everything.
    pub field_selector: String,
    /// Objects in one page; `None`: all at once.
    pub limit: Option<u32>,
    /// The `continue` of the page before; empty: the first page.
    pub continue_token: String,
}

/// The answer to a list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The objects, without `kind` and `apiVersion` as the API lists them.
    pub items: Vec<Value>,
    /// The revision at which the list was true: where a watch goes on.
    pub resource_version: String,
    /// For the next page; empty when this is the last.
    pub continue_token: String,
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Lists are merged by their keys.
    Strategic,
}

/// What a delete carries.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds until the object must be gone; `None`: the object's own.
    pub grace_period_seconds: Option<u64>,
    /// Only this very object, by uid; empty: any of that name.
    pub uid: String,
    /// `Background`, `Foreground` or `Orphan`; empty: the kind's default.
    pub propagation_policy: &'static str,
}

impl Client {
    /// A client over `transport`; `user_agent` names the program, and its first part the field manager.
    pub fn new(transport: Arc<dyn Transport>, user_agent: &str) -> Self {
        Self { transport, user_agent: user_agent.into() }
    }

    /// Reads one object.
    ///
    /// # Errors
    /// 404 when it is not there, and what any request may meet.
    pub async fn get(
        &self,
        resource: ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ClientError> {
        self.call(Method::GET, resource.path_of(namespace, name, ""), None).await
    }

    /// Lists the objects of a namespace, or of all with an empty one.
    ///
    /// # Errors
    /// What any request may meet; 410 when `continue_token` is too old.
    pub async fn list(
        &self,
        resource: ApiResource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<List, ClientError> {
        let path = with_query(resource.path(namespace), &options.query());
        let mut answer = self.call(Method::GET, path.clone(), None).await?;
        let text = |key: &str| answer["metadata"][key].as_str().unwrap_or_default().to_owned();
        let (resource_version, continue_token) = (text("resourceVersion"), text("continue"));
        match answer["items"].take() {
            Value::Array(items) => Ok(List { items, resource_version, continue_token }),
            Value::Null => Ok(List { items: Vec::new(), resource_version, continue_token }),
            _ => Err(ClientError::Malformed { path, why: "items is no list".to_owned() }),
        }
    }

    /// Watches from `resource_version` on, until the server ends the watch after at most `timeout`.
    ///
    /// # Errors
    /// 410 when that revision is too old, and what any request may meet.
    pub async fn watch(
        &self,
        resource: ApiResource,
        namespace: &str,
        options: &ListOptions,
        resource_version: &str,
        timeout: Duration,
    ) -> Result<Watch, ClientError> {
        let mut query = options.query();
        let seconds = timeout.as_secs().to_string();
        let fixed = [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", &seconds)];
        query.extend(fixed.map(|(key, value)| (key, value.to_owned())));
        query.push(("resourceVersion", resource_version.to_owned()));
        let path = with_query(resource.path(namespace), &query);
        let response = self.send(Method::GET, &path, None).await?;
        Ok(Watch::new(succeeded(response).await?.into_body(), path))
    }

    /// Follows a collection for ever: lists, watches, resumes, and lists again when it has been away too long.
    pub fn follow(&self, resource: ApiResource, namespace: &str, options: ListOptions) -> Follow {
        Follow::start(self.clone(), resource, namespace.to_owned(), options)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// 409 when it is there, 422 when it is invalid, and what any request may meet.
    pub async fn create(
        &self,
        resource: ApiResource,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, ClientError> {
        self.call(Method::POST, resource.path(namespace), Some(body_of(object))).await
    }

    /// Creates what a subresource takes: `binding`, `token`, `eviction`.
    ///
    /// # Errors
    /// What any request may meet.
    pub async fn create_sub(
        &self,
        resource: ApiResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &Value,
    ) -> Result<Value, ClientError> {
        self.call(Method::POST, resource.path_of(namespace, name, subresource), Some(body_of(object))).await
    }

    /// Replaces an object, or with `subresource` (`status`) that part of it; `metadata.resourceVersion` is what was
    /// read.
    ///
    /// # Errors
    /// 409 when somebody else wrote first, and what any request may meet.
    pub async fn update(
        &self,
        resource: ApiResource,
        namespace: &str,
        subresource: &str,
        object: &Value,
    ) -> Result<Value, ClientError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        self.call(Method::PUT, resource.path_of(namespace, name, subresource), Some(body_of(object))).await
    }

    /// Patches an object, or with `subresource` not empty that part of it.
    ///
    /// # Errors
    /// What any request may meet.
    pub async fn patch(
        &self,
        resource: ApiResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        kind: PatchKind,
        patch: &Value,
    ) -> Result<Value, ClientError> {
        let body = (kind.media_type(), Bytes::from(patch.to_string()));
        self.call(Method::PATCH, resource.path_of(namespace, name, subresource), Some(body)).await
    }

    /// Merges into an object's `status` (RFC 7386); `patch` is the whole patch: `{"status": …}`.
    ///
    /// # Errors
    /// What any request may meet.
    pub async fn patch_status(
        &self,
        resource: ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ClientError> {
        self.patch(resource, namespace, name, "status", PatchKind::Merge, patch).await
    }

    /// Deletes an object; answers what it was or a `Status`.
    ///
    /// # Errors
    /// 404 when it is not there, 409 when it has another uid, and what any request may meet.
    pub async fn delete(
        &self,
        resource: ApiResource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Value, ClientError> {
        let body = body_of(&options.to_value());
        self.call(Method::DELETE, resource.path_of(namespace, name, ""), Some(body)).await
    }

    /// A token for a service account, bound to a pod when `bound_pod` (name and uid) is given.
    ///
    /// Answers the token and when it expires (RFC 3339).
    ///
    /// # Errors
    /// What any request may meet.
    pub async fn token(
        &self,
        namespace: &str,
        service_account: &str,
        expiration_seconds: u64,
        bound_pod: Option<(&str, &str)>,
    ) -> Result<(String, String), ClientError> {
        let mut spec = json!({ "audiences": [], "expirationSeconds": expiration_seconds });
        if let Some((name, uid)) = bound_pod {
            spec["boundObjectRef"] = json!({ "kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid });
        }
        let request =
            json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec });
        let accounts = ApiResource::SERVICE_ACCOUNTS;
        let answer = self.create_sub(accounts, namespace, service_account, "token", &request).await?;
        let text = |key: &str| answer["status"][key].as_str().unwrap_or_default().to_owned();
        Ok((text("token"), text("expirationTimestamp")))
    }

    /// Reads a document that is no object of a resource: `/version`, `/healthz`; the body as it is.
    ///
    /// # Errors
    /// What any request may meet.
    pub async fn get_raw(&self, path: &str) -> Result<Bytes, ClientError> {
        let response = succeeded(self.send(Method::GET, path, None).await?).await?;
        collect(response.into_body()).await
    }

    /// Uploads the bytes of a plugin's component, creating the Plugin when it is not there; answers the Plugin.
    ///
    /// # Errors
    /// 422 when it is no component that can be used, and what any request may meet.
    pub async fn upload_component(&self, plugin: &str, component: Bytes) -> Result<Value, ClientError> {
        let path = ApiResource::PLUGINS.path_of("", plugin, "component");
        self.call(Method::PUT, path, Some(("application/wasm", component))).await
    }

    async fn call(
        &self,
        method: Method,
        path: String,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Value, ClientError> {
        let name = method.to_string();
        match tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(method, &path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::Timeout { method: name, path, seconds: REQUEST_TIMEOUT.as_secs() }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Value, ClientError> {
        let response = succeeded(self.send(method, path, body).await?).await?;
        let bytes = collect(response.into_body()).await?;
        serde_json::from_slice(&bytes)
            .map_err(|why| ClientError::Malformed { path: path.to_owned(), why: why.to_string() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Response<Body>, ClientError> {
        let request = self.request(method, path, body)?;
        self.transport.send(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, &*self.user_agent);
        let Some((media_type, bytes)) = body else { return request.body(Bytes::new()) };
        request = request.header(header::CONTENT_TYPE, media_type);
        request.body(bytes)
    }
}

impl ListOptions {
    /// Everything that `selector` selects by label.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: selector.into(), ..Self::default() }
    }

    /// Everything that `selector` selects by field.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("labelSelector", self.label_selector.clone()),
            ("fieldSelector", self.field_selector.clone()),
            ("continue", self.continue_token.clone()),
        ];
        query.push(("limit", self.limit.map(|limit| limit.to_string()).unwrap_or_default()));
        query
    }
}

impl PatchKind {
    /// The `Content-Type` of such a patch.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

impl DeleteOptions {
    /// Deletes at once, without a grace period: what a node does when a pod's containers have ended.
    pub fn now(uid: impl Into<String>) -> Self {
        Self { grace_period_seconds: Some(0), uid: uid.into(), ..Self::default() }
    }

    fn to_value(&self) -> Value {
        let mut value = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        if let Some(seconds) = self.grace_period_seconds {
            value["gracePeriodSeconds"] = seconds.into();
        }
        if !self.uid.is_empty() {
            value["preconditions"] = json!({ "uid": self.uid });
        }
        if !self.propagation_policy.is_empty() {
            value["propagationPolicy"] = self.propagation_policy.into();
        }
        value
    }
}

fn body_of(object: &Value) -> (&'static str, Bytes) {
    ("application/json", Bytes::from(object.to_string()))
}

fn with_query(mut path: String, query: &[(&'static str, String)]) -> String {
    let mut separator = '?';
    for (key, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        path.push(separator);
        path.push_str(key);
        path.push('=');
        push_escaped(&mut path, value);
        separator = '&';
    }
    path
}

async fn succeeded(response: Response<Body>) -> Result<Response<Body>, ClientError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    let body = collect(response.into_body()).await?;
    Err(StatusError::parse(code, &body).into())
}

async fn collect(mut body: Body) -> Result<Bytes, ClientError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(ClientError::Broken)?.into_data() {
            all.extend_from_slice(&data);
        }
        if all.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Broken(format!("it is larger than {ANSWER_BYTES_MAX} bytes").into()));
        }
    }
    Ok(all.freeze())
}
