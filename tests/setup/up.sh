#!/usr/bin/env bash
# Starts a one-node cluster in the foreground, loads the demo's images into it, and says what to try. Ctrl-C stops
# Berth and leaves its containers running; the next start adopts them. Called by `make up`, which sets the variables.
# shellcheck source=tests/setup/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

: "${BERTH:?}" "${KUBECTL:?}" "${IMAGES:?}" "${DATA_DIR:?}"
# A first start makes keys and a database; it takes well under a second.
ready_timeout_s=30
kubeconfig=$DATA_DIR/kubeconfig

# Asked for here, while there is a terminal to answer at.
as_root true
# A job of its own, so that a Ctrl-C meets this script alone, which passes it on once.
set -m
"$REPO/tests/setup/as-root.sh" "$BERTH" up --data-dir "$DATA_DIR" &
berth=$!
trap 'as_root kill -TERM "$berth"' INT TERM HUP

# Not kill -0: a user may not signal what sudo started.
running() { [ -e "/proc/$berth" ]; }
ready() { as_root "$KUBECTL" --kubeconfig "$kubeconfig" get --raw /readyz >/dev/null 2>&1; }

deadline=$((SECONDS + ready_timeout_s))
until ready; do
    running || { wait "$berth" || exit; exit 1; }
    [ "$SECONDS" -lt "$deadline" ] || { as_root kill "$berth"; die "berth up was not ready after $ready_timeout_s s"; }
    sleep 0.1
done

for image in my-app-v1 my-app-v2 busybox; do
    as_root "$BERTH" load -i "$IMAGES/$image.tar" --data-dir "$DATA_DIR"
done

# The data directory is root's alone; whoever asked for the cluster gets a copy of the key to it.
if [ "$(id -u)" -ne 0 ]; then
    kubeconfig=$REPO/target/kubeconfig
    (umask 077; as_root cat "$DATA_DIR/kubeconfig" >"$kubeconfig")
fi

cat <<END

Berth is up. Its kubeconfig is $kubeconfig

Try, in another terminal:

  export KUBECONFIG=$kubeconfig
  alias kubectl=$KUBECTL
  kubectl apply -f $REPO/examples/manifests/my-app.yaml
  kubectl get pods -o wide -w
  kubectl scale deployment my-app --replicas=5
  kubectl set image deployment/my-app my-app=my-app:v2 && kubectl rollout status deployment/my-app
  kubectl rollout undo deployment/my-app

Ctrl-C stops Berth and leaves the containers running; 'make up' finds them again; 'make down' removes them.

END
# A trapped signal ends a wait early, while Berth is still stopping.
while running; do wait "$berth" || true; done
wait "$berth"
