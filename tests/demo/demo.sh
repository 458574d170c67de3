#!/usr/bin/env bash
# Berth, shown step by step with the real kubectl: a tutorial's Deployment on real containers, a roll-out and its undoing,
# the scheduling policy swapped while pods are being placed, a kill -9, and everything taken down again.
# Every step is checked; the exit status is 0 only when each did what it says. Called by `make demo`, which sets:
#   BERTH    the program        KUBECTL    kubectl 1.35 or newer        IMAGES    a directory with the demo's images
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../setup/lib.sh"

: "${BERTH:?}" "${KUBECTL:?}" "${IMAGES:?}"
# Root makes containers, networks and mounts; the script asks for it once and then is root throughout.
[ "$(id -u)" -eq 0 ] || { as_root env "PATH=$PATH" BERTH="$BERTH" KUBECTL="$KUBECTL" IMAGES="$IMAGES" "${BASH_SOURCE[0]}"; exit; }

data=$(mktemp -d /tmp/berth-demo-XXXXXX)
log=$data.log
export KUBECONFIG=$data/kubeconfig BERTH_DATA_DIR=$data
# Ranges and a port of the demo's own, so that it runs beside a cluster that is up already.
pod_cidr=10.231.0.0/16
service_cidr=10.232.0.0/16
port=$((20000 + RANDOM % 10000))
berth_pid=

now_ms() { echo $(($(date +%s%N) / 1000000)); }
started_ms=$(now_ms)
step_ms=$started_ms

step() {
    step_ms=$(now_ms)
    printf '\n\033[1m%s\033[0m\n' "── $*"
}
ok() { printf '   ✓ %s  (%d ms)\n' "$*" $(($(now_ms) - step_ms)); }
fail() {
    printf '\n   ✗ %s\n' "$*" >&2
    "$KUBECTL" get pods,events -A 2>&1 | tail -30 >&2 || true
    tail -20 "$log" >&2 || true
    exit 1
}
kubectl() { "$KUBECTL" "$@"; }
show() {
    printf '   $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/     /'
}

# eventually SECONDS WHAT COMMAND...: tries the command until it succeeds.
eventually() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what"
        sleep 0.05
    done
}

up() {
    "$BERTH" up --listen "127.0.0.1:$port" --pod-cidr "$pod_cidr" --service-cidr "$service_cidr" "$@" >>"$log" 2>&1 &
    berth_pid=$!
    eventually 30 "berth up did not get ready" node_ready
}
node_ready() { kubectl wait --for=condition=Ready node -l '!berth.dev/simulated' --timeout=1s; }
# Stops berth with a signal and waits until it is gone; its containers are not its children.
halt() {
    kill -"$1" "$berth_pid"
    wait "$berth_pid" 2>/dev/null || true
    berth_pid=
}

clean_up() {
    local status=$?
    [ -z "$berth_pid" ] || { kill -TERM "$berth_pid" && wait "$berth_pid"; } 2>/dev/null || true
    "$BERTH" down >/dev/null 2>&1 || true
    rm -rf "$data"
    [ "$status" -eq 0 ] && rm -f "$log"
    exit "$status"
}
trap clean_up EXIT

pods_of() { kubectl get pods -l "app=$1" -o "jsonpath={range .items[*]}{$2}{'\n'}{end}"; }
container_ids() { pods_of my-app '.status.containerStatuses[0].containerID' | sort; }
# pages TEXT COUNT: every pod of my-app answers with a page that holds TEXT, and there are COUNT of them.
pages() {
    local ip count=0
    for ip in $(pods_of my-app .status.podIP); do
        curl -fsS -m 5 "http://$ip:8080/" | grep "$1" || return 1
        count=$((count + 1))
    done
    [ "$count" -eq "$2" ]
}
nodes_used() { pods_of "$1" .spec.nodeName | sort -u | wc -l; }

step "A one-node cluster"
for image in my-app-v1 my-app-v2 busybox; do "$BERTH" load -i "$IMAGES/$image.tar" >/dev/null; done
step_ms=$(now_ms)
up
ok "server up and node Ready"
show kubectl get nodes

step "The tutorial's Deployment, as it is"
# At a cluster's first start the policy's component is compiled; until then the host places pods by itself.
kubectl wait --for=condition=Active pluginbinding/default-scheduler --timeout=60s >/dev/null ||
    fail "the Wasm scheduler is not active"
show kubectl apply -f "$REPO/examples/manifests/my-app.yaml"
kubectl rollout status deployment/my-app --timeout=60s >/dev/null || fail "the Deployment was not rolled out"
ok "3 pods run as containers"
show kubectl get pods -o wide
[ "$(kubectl get pluginbinding default-scheduler -o 'jsonpath={.status.activePlugin}')" = spread ] ||
    fail "the Wasm scheduler is not active"
# Events are written beside the work, a moment later.
scheduled() { [ "$(kubectl get events --field-selector reason=Scheduled -o name | wc -l)" -ge 3 ]; }
eventually 10 "no pod was placed by the scheduler" scheduled
ok "placed by the scheduling policy 'spread', a Wasm component"

step "A page from each pod"
pages "my-app v1" 3 | sed 's/^/     /' || fail "a pod did not answer"
ok "3 pages"

step "Logs and exec"
[[ $(kubectl logs deployment/my-app --tail=2 2>/dev/null) == *"my-app v1"* ]] || fail "no logs"
pod=$(kubectl get pods -l app=my-app -o 'jsonpath={.items[0].metadata.name}')
# shellcheck disable=SC2016 # the container's shell expands it
[ "$(kubectl exec "$pod" -- sh -c 'echo "$HOSTNAME"')" = "$pod" ] || fail "exec did not run in the pod"
[ "$(echo through stdin | kubectl exec -i "$pod" -- cat)" = "through stdin" ] || fail "exec lost its input"
code=0
kubectl exec "$pod" -- sh -c 'exit 7' 2>/dev/null || code=$?
[ "$code" -eq 7 ] || fail "exec lost the exit code: $code"
ok "logs, output, input and exit codes"

step "Scale, roll out, undo"
kubectl scale deployment my-app --replicas=5 >/dev/null
kubectl rollout status deployment/my-app --timeout=60s >/dev/null || fail "not scaled"
ok "5 replicas"
kubectl set image deployment/my-app my-app=my-app:v2 >/dev/null
kubectl rollout status deployment/my-app --timeout=90s >/dev/null || fail "v2 was not rolled out"
eventually 30 "not every page is v2's" pages "my-app v2" 5
ok "v2 serves"
kubectl rollout undo deployment/my-app >/dev/null
kubectl rollout status deployment/my-app --timeout=90s >/dev/null || fail "the undo was not rolled out"
eventually 30 "not every page is v1's again" pages "my-app v1" 5
ok "and v1 again"
show kubectl rollout history deployment/my-app

step "kill -9, while the containers serve"
container_ids >"$data/ids"
ip=$(kubectl get pods -l app=my-app -o 'jsonpath={.items[0].status.podIP}')
halt KILL
curl -fsS -m 5 "http://$ip:8080/" >/dev/null || fail "a container died with berth"
ok "berth is dead, its containers answer"
# From here on with simulated nodes beside the real one.
up --simulate-nodes 8
container_ids | diff "$data/ids" - >/dev/null || fail "not the same containers"
ok "berth is back with the same containers"
eventually 30 "the simulated nodes are not ready" kubectl wait --for=condition=Ready node -l berth.dev/simulated --timeout=1s

step "The scheduling policy, swapped while pods are being placed"
placed() {
    kubectl create deployment "$1" --image=my-app --replicas="$2" --dry-run=client -o json |
        kubectl patch --local -f - --type=merge -o json -p \
            '{"spec":{"template":{"spec":{"nodeSelector":{"berth.dev/simulated":"true"}}}}}' |
        kubectl patch --local -f - --type=json -o json -p \
            '[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"requests":{"cpu":"100m"}}}]' |
        kubectl apply -f - >/dev/null
}
all_placed() { [ "$(pods_of "$1" .spec.nodeName | grep -c .)" -eq "$2" ]; }
placed before 40
eventually 60 "not all pods were placed" all_placed before 40
[ "$(nodes_used before)" -eq 8 ] || fail "'spread' used $(nodes_used before) of 8 nodes"
ok "'spread' puts 40 pods on $(nodes_used before) nodes"
placed during 400
"$BERTH" plugin swap binpack >/dev/null
eventually 120 "decisions were lost in the swap" all_placed during 400
active() { [ "$(kubectl get pluginbinding default-scheduler -o 'jsonpath={.status.activePlugin}')" = "$1" ]; }
eventually 30 "'binpack' does not serve" active binpack
ok "swapped amid 400 pods; every one has its node"
grep -o "Plugin binpack .* serves profile default-scheduler.*" "$log" | tail -n 1 | sed 's/(sha256[^)]*)//; s/^/     /'
kubectl delete deployment before during --wait=true >/dev/null
eventually 60 "the pods did not go" all_placed during 0
placed after 40
eventually 60 "not all pods were placed" all_placed after 40
[ "$(nodes_used after)" -le 2 ] || fail "'binpack' used $(nodes_used after) nodes for 40 small pods"
ok "'binpack' puts 40 pods on $(nodes_used after) node(s)"
show "$BERTH" plugin ls

step "A policy in the way of writes"
"$BERTH" plugin swap image-policy --config '{"allowedRegistries": ["registry.example"]}' --failure-policy Fail >/dev/null
said=$(kubectl run stray --image=nginx:1 2>&1) && fail "a pod with a stray image was taken"
[[ $said == *'admission policy "image-policy" denied the request'* ]] || fail "$said"
printf '     %s\n' "$said"
"$BERTH" plugin unbind image-policy >/dev/null
ok "refused with the policy's sentence"

step "Scaled under load, by one policy and then by another"
kubectl apply -f - >/dev/null <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: {name: loaded}
spec:
  replicas: 2
  selector: {matchLabels: {app: loaded}}
  template:
    metadata:
      labels: {app: loaded}
      annotations: {berth.dev/usage-cpu-shared: "1200m"} # of all replicas together
    spec:
      nodeSelector: {berth.dev/simulated: "true"}
      containers: [{name: c, image: my-app, resources: {requests: {cpu: 500m}}}]
END
kubectl autoscale deployment loaded --cpu=60% --min=1 --max=8 >/dev/null
wanted() { [ "$(kubectl get deployment loaded -o 'jsonpath={.spec.replicas}')" -eq "$1" ]; }
eventually 120 "'target-utilisation' did not scale up" wanted 4
ok "'target-utilisation' wants 4 replicas: 1200m at 60 % of 500m each"
show kubectl get hpa loaded
"$BERTH" plugin swap schedule --config '{"windows": [{"from": "00:00", "to": "24:00", "replicas": 7}]}' >/dev/null
eventually 60 "'schedule' did not scale" wanted 7
ok "exchanged while it runs: 'schedule' wants 7"
kubectl get hpa loaded -o 'jsonpath={range .status.conditions[?(@.type=="ScalingActive")]}     {.message}{"\n"}{end}'
"$BERTH" plugin rollback default >/dev/null

step "Everything down"
id=$(cat "$data/cluster-id")
halt TERM
"$BERTH" down >/dev/null
left=$( (pgrep -af "berth-shim $data/" || true
    grep "$data" /proc/self/mountinfo || true
    find /sys/fs/cgroup -name "berth-$id" 2>/dev/null
    find /sys/class/net -name "br-$id" -o -name "v$id*") )
[ -z "$left" ] || fail "left behind: $left"
ok "no container, mount, cgroup, link is left"

printf '\nThe demo took %d s. Try it yourself: make up\n' $((($(now_ms) - started_ms) / 1000))
