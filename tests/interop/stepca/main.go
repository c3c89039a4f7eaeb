// Debian packages step-ca as a library without a command; this is the command.
//
// Usage: step-ca CONFIG.json
package main

import (
	"fmt"
	"os"

	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/ca"

	_ "github.com/smallstep/certificates/cas/softcas"
	_ "github.com/smallstep/certificates/kms/softkms"
)

func serve(path string) error {
	settings, err := config.LoadConfiguration(path)
	if err != nil {
		return err
	}
	authority, err := ca.New(settings, ca.WithConfigFile(path))
	if err != nil {
		return err
	}
	return authority.Run()
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: step-ca CONFIG.json")
		os.Exit(2)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "step-ca:", err)
		os.Exit(1)
	}
}
