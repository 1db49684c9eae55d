// Package dns tests internal/dns with real name servers (BIND's named) in a network of their own.
package dns

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

const apart = "MAILCERTD_OWN_NETWORK"

// All tests of this package run in one network namespace with one mount namespace, so that the servers can use port 53
// and these addresses, and /etc/resolv.conf can name one of them. They do not use the machine's own network.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(apart) == "" {
		runtime.LockOSThread() // the program that exec starts gets the namespaces of this thread
		if syscall.Unshare(syscall.CLONE_NEWNET|syscall.CLONE_NEWNS) == nil &&
			syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") == nil { // no mount is visible outside
			if self, err := os.Executable(); err == nil {
				_ = syscall.Exec(self, os.Args, append(os.Environ(), apart+"=yes"))
			}
		}
	}
	os.Exit(m.Run())
}

// here prepares a program that runs in the namespaces of this process.
func here(args ...string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }
