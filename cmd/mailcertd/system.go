package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/durable"
	"mailcertd/internal/plan"
)

// Set by the linker: -X main.version=… -X main.commit=… -X main.built=…
// -X main.defaultConfig=…
var (
	version = "devel"
	commit  = ""
	built   = "" // RFC 3339, UTC: RELEASED in release.mk
	// defaultConfig is where the configuration is installed, below --root.
	defaultConfig = "/usr/local/etc/mailcertd.yaml"
)

// buildTime is the time before which no clock can be right: the release's, else
// the commit's, else zero for unknown. Not the link time: a build is reproducible.
func buildTime() time.Time {
	text := built
	if text == "" {
		if bi, ok := debug.ReadBuildInfo(); ok {
			for _, s := range bi.Settings {
				if s.Key == "vcs.time" {
					text = s.Value
				}
			}
		}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

func absPath(p string) (string, error) { return filepath.Abs(p) }

// newDisk is the seam to the file system of this process: root sets owners.
func newDisk() *durable.Disk {
	d := &durable.Disk{Chown: os.Geteuid() == 0}
	arm(d)
	return d
}

// hostNames asks the system and rc.conf what this host is called. rc.conf of
// a system below --root is not this machine's.
func hostNames(root string) func(context.Context) plan.Host {
	return func(ctx context.Context) plan.Host {
		h := plan.Host{}
		h.System, _ = os.Hostname()
		if root == "" {
			h.RC = rcConf(ctx, "sendmail_cert_cn")
		}
		return h
	}
}

// rcConf asks sysrc(8) for a variable. No sysrc, no variable, no answer: "".
func rcConf(ctx context.Context, name string) string {
	path, err := exec.LookPath("sysrc")
	if err != nil {
		return ""
	}
	said, err := command.Command{Argv: []string{path, "-niq", name}, Patience: 5 * time.Second}.Run(ctx)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(said.Out))
}
