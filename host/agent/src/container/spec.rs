//! From a pod's container and its image to what the runtime starts. Pure, but for the paths it names.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use berth_image::Image;
use berth_runtime::{
    ContainerSpec, Mount, MountSource, Propagation, Rootfs, Seccomp, Stdin, Stdio, TerminalSize, User,
    capabilities, default_masked_paths, default_readonly_paths,
};
use sha2::{Digest, Sha256};

use crate::container::env::Variables;
use crate::container::etc::EtcFiles;
use crate::container::fields::expand;
use crate::container::resources;
use crate::container::volumes::Directories;
use crate::manifest::{Container, Pod, VolumeMount};

/// Where a container writes its last words unless it says otherwise.
const TERMINATION_PATH_DEFAULT: &str = "/dev/termination-log";

/// A container's own directory on the node.
#[derive(Debug, Clone)]
pub(crate) struct ContainerPaths {
    pub(crate) directory: PathBuf,
    pub(crate) log: PathBuf,
}

impl ContainerPaths {
    pub(crate) fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    pub(crate) fn termination_log(&self) -> PathBuf {
        self.directory.join("termination-log")
    }

    /// The volumes that its image declares.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.directory.join("volumes")
    }
}

/// Everything a container is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) attempt: u32,
    pub(crate) image: &'a Image,
    pub(crate) variables: &'a Variables,
    pub(crate) hostname: &'a str,
    pub(crate) directories: &'a Directories,
    pub(crate) etc: &'a EtcFiles,
    pub(crate) paths: &'a ContainerPaths,
    pub(crate) machine_memory_bytes: u64,
}

/// The id of an instance of a container: the same whenever it is computed, so that a crash between starting it and
/// writing that down makes no second one.
pub(crate) fn id(pod_uid: &str, container: &str, attempt: u32) -> String {
    let digest = Sha256::digest(format!("{pod_uid}/{container}/{attempt}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What to start.
///
/// # Errors
/// For `CreateContainerConfigError`: what the pod asks for cannot be.
pub(crate) fn build(inputs: &Inputs<'_>) -> Result<ContainerSpec, String> {
    let Inputs { pod, container, image, .. } = inputs;
    let security = &container.security_context;
    let rootfs = Rootfs::Overlay {
        // The store names the top layer first, the runtime wants the base first.
        lowers: image.layer_dirs.iter().rev().cloned().collect(),
        upper: inputs.paths.upper(),
        work: inputs.paths.work(),
    };
    let id = id(pod.uid(), &container.name, inputs.attempt);
    let mut spec = ContainerSpec::new(id, rootfs, args(inputs)?, &inputs.paths.log);
    spec.name.clone_from(&container.name);
    spec.attempt = inputs.attempt;
    spec.readonly_rootfs = security.read_only_root_filesystem;
    spec.env = crate::container::env::environment(&image.config, inputs.hostname, inputs.variables);
    spec.cwd = working_directory(inputs);
    spec.user = user(inputs);
    spec.mounts = mounts(inputs)?;
    let capabilities = &security.capabilities;
    spec.capabilities =
        capabilities::adjusted(&capabilities.add, &capabilities.drop).map_err(|error| error.to_string())?;
    spec.privileged = security.privileged;
    spec.no_new_privs = security.allow_privilege_escalation == Some(false);
    spec.seccomp = seccomp(inputs)?;
    let unmasked = security.proc_mount == "Unmasked";
    spec.masked_paths = if unmasked { Vec::new() } else { default_masked_paths() };
    spec.readonly_paths = if unmasked { Vec::new() } else { default_readonly_paths() };
    spec.resources = resources::of_container(container);
    spec.oom_score_adj = resources::oom_score_adj(pod, container, inputs.machine_memory_bytes);
    spec.stdio = stdio(container);
    Ok(spec)
}

fn args(inputs: &Inputs<'_>) -> Result<Vec<String>, String> {
    let Inputs { container, image, variables, .. } = inputs;
    let expanded = |list: &[String]| -> Vec<String> {
        list.iter().map(|text| expand(text, |name| variables.get(name))).collect()
    };
    let own = expanded(&container.args);
    let args = match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => [expanded(&container.command), own].concat(),
        (true, false) => [image.config.entrypoint.clone(), own].concat(),
        (true, true) => [image.config.entrypoint.clone(), image.config.cmd.clone()].concat(),
    };
    if args.is_empty() {
        return Err(format!("container {:?}: neither the pod nor the image names a command", container.name));
    }
    Ok(args)
}

fn working_directory(inputs: &Inputs<'_>) -> PathBuf {
    let own = &inputs.container.working_dir;
    let directory = if own.is_empty() { &inputs.image.config.working_dir } else { own };
    Path::new("/").join(directory)
}

fn user(inputs: &Inputs<'_>) -> User {
    let (own, pod) = (&inputs.container.security_context, &inputs.pod.spec.security_context);
    let mut additional_gids = pod.supplemental_groups.clone();
    additional_gids.extend(pod.fs_group);
    User {
        image_user: inputs.image.config.user.clone(),
        uid: own.run_as_user.or(pod.run_as_user),
        gid: own.run_as_group.or(pod.run_as_group),
        additional_gids,
        must_not_be_root: own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false),
    }
}

/// What there is to say of a container that must not be root and whose image names its user by name: here the name is looked
/// up in the image, elsewhere it is not.
pub(crate) fn non_root_by_name(pod: &Pod, container: &Container, image_user: &str) -> Option<String> {
    let (own, pod) = (&container.security_context, &pod.spec.security_context);
    let must_not_be_root = own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
    let name = image_user.split(':').next().unwrap_or_default();
    let is_number = name.is_empty() || name.parse::<u32>().is_ok();
    if !must_not_be_root || own.run_as_user.or(pod.run_as_user).is_some() || is_number {
        return None;
    }
    Some(format!(
        "container has runAsNonRoot and image has non-numeric user ({name}): this node has found in the image that it is not \
         root, others cannot verify it and do not start the container; set runAsUser to the user's number"
    ))
}

fn seccomp(inputs: &Inputs<'_>) -> Result<Seccomp, String> {
    let own = inputs.container.security_context.seccomp_profile.as_ref();
    let profile = own.or(inputs.pod.spec.security_context.seccomp_profile.as_ref());
    match profile.map(|profile| profile.kind.as_str()) {
        // A pod that does not care gets Docker's default, which is what most images were made under.
        None | Some("RuntimeDefault") => Ok(Seccomp::DockerDefault),
        Some("Unconfined") => Ok(Seccomp::Unconfined),
        Some(other) => Err(format!("seccomp profiles of type {other} are not supported on this node")),
    }
}

fn stdio(container: &Container) -> Stdio {
    if container.tty {
        return Stdio::Terminal { size: TerminalSize::default() };
    }
    let stdin = match (container.stdin, container.stdin_once) {
        (false, _) => Stdin::Empty,
        (true, false) => Stdin::Open,
        (true, true) => Stdin::Once,
    };
    Stdio::Pipes { stdin }
}

fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>, String> {
    let mut mounts = standard_mounts(inputs);
    for mount in &inputs.container.volume_mounts {
        let mount = volume_mount(inputs, mount)?;
        mounts.retain(|other| other.destination != mount.destination);
        mounts.push(mount);
    }
    // What is mounted inside another mount comes after it.
    let depth = |mount: &Mount| mount.destination.components().count();
    mounts.sort_by_key(depth);
    let mut all = image_volumes(inputs, &mounts)?;
    all.sort_by_key(depth);
    // Where only a link of the image shows that one of the pod's mounts is at or above such a volume, it covers it.
    all.append(&mut mounts);
    Ok(all)
}

/// Volumes that an image may declare: real ones have a handful, and each costs a directory, a mount, and a descriptor
/// of the starting process.
const IMAGE_VOLUMES_MAX: usize = 512;

/// The volumes that the image declares (`VOLUME` in a Dockerfile), but where the pod has mounts of its own.
fn image_volumes(inputs: &Inputs<'_>, own: &[Mount]) -> Result<Vec<Mount>, String> {
    let declared = &inputs.image.config.volumes;
    let image = &inputs.container.image;
    if declared.len() > IMAGE_VOLUMES_MAX {
        return Err(format!(
            "image {image:?} declares {} volumes; this node mounts {IMAGE_VOLUMES_MAX} at most",
            declared.len()
        ));
    }
    let places: BTreeSet<PathBuf> = declared.iter().map(|path| normal(path.as_ref())).collect();
    let is_own = |place: &Path| own.iter().any(|mount| place.starts_with(normal(&mount.destination)));
    if let Some(place) = places.iter().find(|place| *place == Path::new("/") || place.starts_with("/proc")) {
        return Err(format!(
            "image {image:?} declares a volume at {}: none can be mounted there",
            place.display()
        ));
    }
    let places = places.into_iter().filter(|place| !is_own(place)).enumerate();
    let volume = |(number, place): (usize, PathBuf)| {
        let path = inputs.paths.volumes().join(number.to_string());
        Mount { source: MountSource::ImageVolume { path }, ..bind(place, PathBuf::new(), None) }
    };
    Ok(places.map(volume).collect())
}

/// An absolute path without `.` and `..`, as if there were no links.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::from("/"), |mut normal, part| {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
        normal
    })
}

fn standard_mounts(inputs: &Inputs<'_>) -> Vec<Mount> {
    let termination = &inputs.container.termination_message_path;
    let termination = if termination.is_empty() { TERMINATION_PATH_DEFAULT } else { termination };
    // A root file system that is only to be read includes what the node puts into it; last words must go somewhere.
    let read_only = inputs.container.security_context.read_only_root_filesystem;
    [
        ("/etc/hosts", inputs.etc.hosts.clone(), read_only),
        ("/etc/hostname", inputs.etc.hostname.clone(), read_only),
        ("/etc/resolv.conf", inputs.etc.resolv_conf.clone(), read_only),
        (termination, inputs.paths.termination_log(), false),
    ]
    .map(|(destination, path, read_only)| Mount {
        read_only,
        ..bind(Path::new("/").join(destination), path, None)
    })
    .into()
}

fn bind(destination: PathBuf, path: PathBuf, sub_path: Option<PathBuf>) -> Mount {
    Mount {
        destination,
        source: MountSource::Bind { path, sub_path },
        read_only: false,
        propagation: Propagation::Private,
    }
}

fn volume_mount(inputs: &Inputs<'_>, mount: &VolumeMount) -> Result<Mount, String> {
    let directory = inputs.directories.get(&mount.name);
    let directory = directory.ok_or_else(|| {
        format!("container {:?} mounts unknown volume {:?}", inputs.container.name, mount.name)
    })?;
    let sub_path = sub_path(inputs, mount)?;
    let propagation = match mount.mount_propagation.as_str() {
        "HostToContainer" => Propagation::HostToContainer,
        "Bidirectional" => Propagation::Bidirectional,
        _ => Propagation::Private,
    };
    // Whatever the mount says, as under the kubelet: the node works in there as root, and must find its own links.
    let of_node = inputs.pod.spec.volumes.iter().any(|v| v.name == mount.name && v.is_written_by_node());
    let read_only = mount.read_only || of_node;
    let destination = Path::new("/").join(&mount.mount_path);
    Ok(Mount { read_only, propagation, ..bind(destination, directory.clone(), sub_path) })
}

/// Which part of its volume a mount shows. What an expression comes to is known only here, so it is checked here.
fn sub_path(inputs: &Inputs<'_>, mount: &VolumeMount) -> Result<Option<PathBuf>, String> {
    let path = match (mount.sub_path.as_str(), mount.sub_path_expr.as_str()) {
        ("", "") => return Ok(None),
        ("", expression) => expand_all(expression, inputs.variables).map_err(|why| {
            format!("failed to expand the subPathExpr {expression:?} of volumeMount {:?}: {why}", mount.name)
        })?,
        (path, _) => path.to_owned(),
    };
    let refused = |why: &str| Err(format!("the subPath {path:?} of volumeMount {:?} {why}", mount.name));
    match Path::new(&path) {
        path if path.is_absolute() => refused("must not be an absolute path"),
        path if path.components().any(|part| part == Component::ParentDir) => {
            refused("must not contain '..'")
        }
        path => Ok(Some(path.to_owned())),
    }
}

/// A path with a reference that leads nowhere, or to nothing, would be somebody else's path.
fn expand_all(expression: &str, variables: &Variables) -> Result<String, String> {
    let missing = std::cell::RefCell::new(Vec::new());
    let path = expand(expression, |name| {
        let value = variables.get(name).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.borrow_mut().push(name.to_owned());
        }
        value
    });
    match missing.into_inner() {
        none if none.is_empty() => Ok(path),
        missing => Err(format!("missing value for {}", missing.join(", "))),
    }
}

/// The number of the signal that tells a container to end: the pod's, the image's, or SIGTERM.
pub(crate) fn stop_signal(container: &Container, image_signal: &str) -> i32 {
    let own = signal_number(&container.lifecycle.stop_signal);
    own.or_else(|| signal_number(image_signal)).unwrap_or(nix::libc::SIGTERM)
}

/// The number of `SIGINT`, `INT`, `2` or `SIGRTMIN+3` (which systemd wants); `None` for what is no signal.
fn signal_number(name: &str) -> Option<i32> {
    /// The real-time signals, as C libraries number them.
    const REALTIME: (i32, i32) = (34, 64);
    let name = name.to_ascii_uppercase();
    let short = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let (number, least) = if let Some(rest) = short.strip_prefix("RTMIN") {
        (REALTIME.0.checked_add(offset(rest)?)?, REALTIME.0)
    } else if let Some(rest) = short.strip_prefix("RTMAX") {
        (REALTIME.1.checked_add(offset(rest)?)?, REALTIME.0)
    } else if let Ok(number) = short.parse::<i32>() {
        (number, 1)
    } else {
        (format!("SIG{short}").parse::<nix::sys::signal::Signal>().ok()? as i32, 1)
    };
    (least..=REALTIME.1).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_image::ImageConfig;
    use serde_json::{Value, json};

    fn check(container: Value, image: ImageConfig) -> Result<ContainerSpec, String> {
        check_with(container, image, &Variables::default())
    }

    fn check_with(
        container: Value,
        image: ImageConfig,
        variables: &Variables,
    ) -> Result<ContainerSpec, String> {
        let pod = Pod::from_value(json!({ "metadata": { "name": "p", "uid": "u" },
            "spec": { "securityContext": { "runAsUser": 7, "fsGroup": 9 }, "containers": [container],
                "volumes": [{ "name": "v", "emptyDir": {} }, { "name": "f", "configMap": { "name": "m" } }] } }))
        .unwrap();
        let digest = berth_image::Digest::of(b"x");
        let image = Image {
            digest,
            config_digest: digest,
            names: vec![],
            config: image,
            layer_dirs: vec!["/top".into(), "/base".into()],
            size_bytes: 0,
            created: String::new(),
        };
        build(&Inputs {
            pod: &pod,
            container: &pod.spec.containers[0],
            attempt: 2,
            image: &image,
            variables,
            hostname: "p",
            directories: &["v", "f"].map(|name| (name.to_owned(), Path::new("/d").join(name))).into(),
            etc: &EtcFiles::of(Path::new("/d")),
            paths: &ContainerPaths { directory: "/d/c".into(), log: "/l/2.log".into() },
            machine_memory_bytes: 1 << 30,
        })
    }

    #[test]
    fn command_and_args_replace_the_images() {
        let image =
            || ImageConfig { entrypoint: vec!["e".into()], cmd: vec!["c".into()], ..Default::default() };
        for (container, expected) in [
            (json!({ "name": "c" }), vec!["e", "c"]),
            (json!({ "name": "c", "args": ["a"] }), vec!["e", "a"]),
            (json!({ "name": "c", "command": ["x"] }), vec!["x"]),
            (json!({ "name": "c", "command": ["x"], "args": ["$(NO)", "$$"] }), vec!["x", "$(NO)", "$"]),
        ] {
            assert_eq!(check(container, image()).unwrap().args, expected);
        }
        assert!(check(json!({ "name": "c" }), ImageConfig::default()).unwrap_err().contains("command"));
    }

    #[test]
    fn mounts_are_ordered_and_replace_the_standard_ones() {
        let mounts = json!([
            { "name": "v", "mountPath": "/a/b", "subPath": "s", "readOnly": true },
            { "name": "v", "mountPath": "/a" },
            { "name": "v", "mountPath": "/etc/hosts", "subPath": "hosts" },
        ]);
        let spec =
            check(json!({ "name": "c", "command": ["x"], "volumeMounts": mounts }), ImageConfig::default())
                .unwrap();
        let destinations: Vec<_> =
            spec.mounts.iter().map(|mount| mount.destination.to_str().unwrap()).collect();
        assert_eq!(destinations[0], "/a");
        assert!(
            destinations.contains(&"/a/b")
                && destinations.iter().filter(|d| **d == "/etc/hosts").count() == 1
        );
        let missing =
            json!({ "name": "c", "command": ["x"], "volumeMounts": [{ "name": "w", "mountPath": "/w" }] });
        assert!(check(missing, ImageConfig::default()).unwrap_err().contains("unknown volume \"w\""));
    }

    #[test]
    fn volumes_of_the_image_are_mounted_where_the_pod_mounts_nothing() {
        let of = |declared: &[&str], own: &[&str]| {
            let own: Vec<Value> = own.iter().map(|path| json!({ "name": "v", "mountPath": path })).collect();
            let volumes = declared.iter().map(ToString::to_string).collect();
            let container = json!({ "name": "c", "image": "i", "command": ["x"], "volumeMounts": own });
            let spec = check(container, ImageConfig { volumes, ..ImageConfig::default() })?;
            let of_image = spec.mounts.iter().enumerate().filter_map(|(order, mount)| match &mount.source {
                MountSource::ImageVolume { path } => Some((order, mount.destination.display(), path)),
                _ => None,
            });
            Ok(of_image
                .map(|(order, at, path)| format!("{order} {at} {}", path.display()))
                .collect::<Vec<_>>())
        };
        let refused = |why: &str| Err::<Vec<String>, String>(why.to_owned());
        let mounted = |mounts: &[&str]| Ok(mounts.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (declared, own, expected) in [
            (&["/vol"][..], &[][..], mounted(&["0 /vol /d/c/volumes/0"])),
            (
                &["/a/b/c", "/a", "/b/c"],
                &[],
                mounted(&["0 /a /d/c/volumes/0", "1 /b/c /d/c/volumes/2", "2 /a/b/c /d/c/volumes/1"]),
            ),
            (&["vol/", "/./vol", "/../x/../vol"], &[], mounted(&["0 /vol /d/c/volumes/0"])),
            (&["/vol", "/data"], &["/vol"], mounted(&["0 /data /d/c/volumes/0"])),
            (&["/vol/deep"], &["/vol/"], mounted(&[])),
            (&["/vol"], &["/vol/deep", "/volume"], mounted(&["0 /vol /d/c/volumes/0"])),
            (&["/etc/hosts"], &[], mounted(&[])),
            (&["/x/.."], &[], refused("image \"i\" declares a volume at /: none can be mounted there")),
            (
                &["/proc/sys"],
                &[],
                refused("image \"i\" declares a volume at /proc/sys: none can be mounted there"),
            ),
        ] {
            assert_eq!(of(declared, own), expected, "{declared:?} {own:?}");
        }
        let many: Vec<String> = (0..=IMAGE_VOLUMES_MAX).map(|number| format!("/v{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of(&many[1..], &[]).unwrap().len(), IMAGE_VOLUMES_MAX);
        assert!(of(&many, &[]).unwrap_err().ends_with("this node mounts 512 at most"));
    }

    #[test]
    fn a_sub_path_stays_in_its_volume_whatever_it_is_made_of() {
        let sub_path = |mount: Value| {
            let mut container = json!({ "name": "c", "command": ["x"], "volumeMounts": [mount] });
            container["volumeMounts"][0]["name"] = json!("v");
            container["volumeMounts"][0]["mountPath"] = json!("/v");
            let variables = [("UP", ".."), ("ROOT", "/tmp"), ("OWN", "a"), ("EMPTY", "")];
            let spec = check_with(container, ImageConfig::default(), &variables.into())?;
            let mount = spec.mounts.into_iter().find(|mount| mount.destination == Path::new("/v")).unwrap();
            let MountSource::Bind { sub_path, .. } = mount.source else { panic!() };
            Ok(sub_path.map(|path| path.display().to_string()).unwrap_or_default())
        };
        let refused = |why: &str| Err(why.to_owned());
        for (mount, expected) in [
            (json!({}), Ok(String::new())),
            (json!({ "subPath": "a/b" }), Ok("a/b".to_owned())),
            (json!({ "subPathExpr": "$(OWN)/x..y" }), Ok("a/x..y".to_owned())),
            (
                json!({ "subPathExpr": "$(UP)" }),
                refused("the subPath \"..\" of volumeMount \"v\" must not contain '..'"),
            ),
            (
                json!({ "subPathExpr": "a/$(UP)/b" }),
                refused("the subPath \"a/../b\" of volumeMount \"v\" must not contain '..'"),
            ),
            (
                json!({ "subPathExpr": "$(ROOT)" }),
                refused("the subPath \"/tmp\" of volumeMount \"v\" must not be an absolute path"),
            ),
            (
                json!({ "subPathExpr": "$(NONE)/$(EMPTY)" }),
                refused(
                    "failed to expand the subPathExpr \"$(NONE)/$(EMPTY)\" of volumeMount \"v\": missing value for NONE, EMPTY",
                ),
            ),
            (
                json!({ "subPath": "/etc" }),
                refused("the subPath \"/etc\" of volumeMount \"v\" must not be an absolute path"),
            ),
            (
                json!({ "subPath": "a/.." }),
                refused("the subPath \"a/..\" of volumeMount \"v\" must not contain '..'"),
            ),
        ] {
            assert_eq!(sub_path(mount.clone()), expected, "{mount}");
        }
    }

    #[test]
    fn what_the_node_writes_is_read_only_for_containers() {
        let mounts = json!([{ "name": "v", "mountPath": "/v" }, { "name": "f", "mountPath": "/f" }]);
        let spec =
            check(json!({ "name": "c", "command": ["x"], "volumeMounts": mounts }), ImageConfig::default())
                .unwrap();
        let is_read_only = |path: &str| {
            spec.mounts.iter().find(|mount| mount.destination == Path::new(path)).unwrap().read_only
        };
        assert!(is_read_only("/f") && !is_read_only("/v"));
    }

    #[test]
    fn the_pods_security_context_is_the_containers_default() {
        let spec = check(json!({ "name": "c", "command": ["x"] }), ImageConfig::default()).unwrap();
        assert_eq!((spec.user.uid, spec.user.additional_gids), (Some(7), vec![9]));
        let Rootfs::Overlay { lowers, .. } = spec.rootfs else { panic!() };
        assert_eq!(lowers, [PathBuf::from("/base"), PathBuf::from("/top")]);
        let security = json!({ "runAsUser": 0, "allowPrivilegeEscalation": false, "seccompProfile": { "type": "Localhost" } });
        let error = check(
            json!({ "name": "c", "command": ["x"], "securityContext": security }),
            ImageConfig::default(),
        );
        assert!(error.unwrap_err().contains("Localhost"));
    }

    #[test]
    fn a_user_by_name_is_told_where_it_must_not_be_root() {
        let check = |container: Value, image_user: &str| {
            let pod =
                json!({ "spec": { "securityContext": { "runAsNonRoot": true }, "containers": [container] } });
            let pod = Pod::from_value(pod).unwrap();
            non_root_by_name(&pod, &pod.spec.containers[0], image_user).is_some()
        };
        for (security, user, expected) in [
            (json!({}), "clerk", true),
            (json!({}), "clerk:100", true),
            (json!({}), "4100:staff", false),
            (json!({}), "", false),
            (json!({ "runAsUser": 7 }), "clerk", false),
            (json!({ "runAsNonRoot": false }), "clerk", false),
        ] {
            assert_eq!(check(json!({ "securityContext": security }), user), expected, "{security} {user}");
        }
    }

    #[test]
    fn signals() {
        let container = |signal: &str| Container {
            name: "c".to_owned(),
            lifecycle: serde_json::from_value(json!({ "stopSignal": signal })).unwrap(),
            ..Default::default()
        };
        assert_eq!(stop_signal(&container(""), ""), 15);
        assert_eq!(stop_signal(&container(""), "SIGQUIT"), 3);
        assert_eq!(stop_signal(&container("SIGUSR1"), "3"), 10);
        assert_eq!(stop_signal(&container(""), "INT"), 2);
        assert_eq!(stop_signal(&container(""), "SIGRTMIN+3"), 37);
        assert_eq!(stop_signal(&container("SIGRTMAX-14"), ""), 50);
        for none in ["0", "-1", "65", "SIGRTMAX+1", "SIGRTMIN-1", "SIGNONE", "RTMIN+x"] {
            assert_eq!(stop_signal(&container(""), none), 15, "{none}");
        }
    }
}
