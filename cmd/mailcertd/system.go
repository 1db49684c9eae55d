package main

import (
	"context"
	"errors"
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

// wallClock is the time of day; a binary for crash tests sets it wrong.
var wallClock = time.Now

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

// rcConfStays is how long an answer of sysrc counts in the daemon; a verb asks once.
// rcConfRests is how long one that gave no answer in rcConfPatience is left alone.
const (
	rcConfStays    = time.Minute
	rcConfRests    = time.Minute
	rcConfPatience = 5 * time.Second
)

// rcAsker asks the system and rc.conf what this host is called and how it runs sendmail.
type rcAsker struct {
	root   string // rc.conf of a system below --root is not this machine's
	daemon bool   // rc.conf is asked again when its answer is old
	clock  func() time.Time

	vars   map[string]string
	next   time.Time // when it is asked again; zero: it was not asked
	unread error     // why it could not be asked last
}

func hostNames(root string, daemon bool) func(context.Context) plan.Host {
	return (&rcAsker{root: root, daemon: daemon, clock: time.Now}).host
}

func (a *rcAsker) host(ctx context.Context) plan.Host {
	h := plan.Host{}
	h.System, _ = os.Hostname()
	if a.root == "" {
		a.ask(ctx)
		h.RCErr = a.unread
		h.RC, h.Sendmail = a.vars["sendmail_cert_cn"], mta.ReadRC(a.vars)
	}
	return h
}

// ask asks rc.conf where its last answer counts no more. In MAILCERTD_RC_CONF rc.d/mailcertd hands over what rc.conf
// says, as sysrc(8) prints it: it has read rc.conf already, and sysrc takes 0.15 s. Its verbs alone are given it, not
// the daemon, which daemon(8) may start again months later.
func (a *rcAsker) ask(ctx context.Context) {
	now := a.clock()
	switch {
	case a.next.IsZero():
	case a.unread == nil && !a.daemon, !now.After(a.next) && a.next.Sub(now) <= max(rcConfRests, rcConfStays):
		return
	}
	names := append([]string{"sendmail_cert_cn"}, mta.RCNames...)
	if said, given := os.LookupEnv("MAILCERTD_RC_CONF"); given && !a.daemon {
		a.vars, a.next = sysrcValues(said, names), now
		return
	}
	var got map[string]string
	got, a.unread = rcConf(ctx, names)
	if a.next = a.clock().Add(rcConfRests); a.unread == nil { // else what it said before counts
		a.vars, a.next = got, a.clock().Add(rcConfStays)
	}
}

// rcConf asks sysrc(8) for variables, all at once, as rc.d/sendmail finds them: in
// rc.conf.d/sendmail too. A sysrc that knows no -s is asked without it. No sysrc, no
// answer: none is set. One that does not end in its time, or that could not be run, is
// an error.
func rcConf(ctx context.Context, names []string) (map[string]string, error) {
	path, err := exec.LookPath("sysrc")
	if err != nil {
		return nil, nil
	}
	for _, options := range [][]string{{"-s", "sendmail", "-iq"}, {"-iq"}} {
		said, err := command.Command{Argv: slices.Concat([]string{path}, options, names),
			Patience: rcConfPatience}.Run(ctx)
		var exit *exec.ExitError
		switch {
		case err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0): // no answer in its time, or it was killed
			return nil, err
		case err == nil || len(said.Out) > 0:
			return sysrcValues(string(said.Out), names), nil
		}
	}
	return nil, nil
}

// sysrcValues reads sysrc's lines, "name: value". A value may go on over lines.
func sysrcValues(text string, names []string) map[string]string {
	vars, last := map[string]string{}, ""
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && slices.Contains(names, name) {
			vars[name], last = strings.TrimSpace(value), name
		} else if last != "" {
			vars[last] = strings.TrimSpace(vars[last] + " " + strings.TrimSpace(line))
		}
	}
	return vars
}
