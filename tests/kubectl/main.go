// Command kubectl is the Kubernetes project's own command-line client, built from its published Go modules, so that
// Berth's tests and demo speak to it through the client that its users have.
//
// Upstream's main function belongs to the module k8s.io/kubernetes, which no other module can depend on; all that it
// calls is published, and is called here in the same way.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	// Users' kubeconfigs may name these authentication providers; upstream's binary carries them too.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	// The client libraries log before the flags are parsed, so that -v has to be read ahead of them.
	if _, err := logs.GlogSetter(cmd.GetLogVerbosity(os.Args)); err != nil {
		util.CheckErr(err)
	}
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
