package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
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

// rcConfStays is how long an answer of sysrc counts: one run of a verb looks
// several times, and sysrc takes 0.15 s.
const rcConfStays = 5 * time.Second

// hostNames asks the system and rc.conf what this host is called and how it runs
// sendmail. rc.conf of a system below --root is not this machine's.
func hostNames(root string) func(context.Context) plan.Host {
	var vars map[string]string
	var asked time.Time
	return func(ctx context.Context) plan.Host {
		h := plan.Host{}
		h.System, _ = os.Hostname()
		if root == "" {
			if asked.IsZero() || time.Since(asked) > rcConfStays {
				vars, asked = rcConf(ctx, append([]string{"sendmail_cert_cn"}, mta.RCNames...)), time.Now()
			}
			h.RC, h.Sendmail = vars["sendmail_cert_cn"], mta.ReadRC(vars)
		}
		return h
	}
}

// rcConf asks sysrc(8) for variables, all at once. No sysrc, no answer: none is
// set.
func rcConf(ctx context.Context, names []string) map[string]string {
	path, err := exec.LookPath("sysrc")
	if err != nil {
		return nil
	}
	said, err := command.Command{Argv: append([]string{path, "-iq"}, names...), Patience: 5 * time.Second}.Run(ctx)
	if err != nil && len(said.Out) == 0 {
		return nil
	}
	return sysrcValues(string(said.Out), names)
}

// sysrcValues reads sysrc's lines, "name: value". A value may go on over lines.
func sysrcValues(text string, names []string) map[string]string {
	vars, last := map[string]string{}, ""
	for _, line := range strings.Split(text, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && slices.Contains(names, name) {
			vars[name], last = strings.TrimSpace(value), name
		} else if last != "" {
			vars[last] = strings.TrimSpace(vars[last] + " " + strings.TrimSpace(line))
		}
	}
	return vars
}
