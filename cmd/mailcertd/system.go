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

// The linker sets these: -X main.version=… -X main.commit=… -X main.built=… -X main.defaultConfig=…
var (
	version = "devel"
	commit  = ""
	built   = "" // RFC 3339, UTC: RELEASED in release.mk
	// defaultConfig is the path of the installed configuration, below --root.
	defaultConfig = "/usr/local/etc/mailcertd.yaml"
)

// wallClock returns the time of day. A binary for crash tests sets it wrong.
var wallClock = time.Now

// orderFor is keeper.Options.OrderFor. A binary for crash tests sets it.
var orderFor time.Duration

// buildTime returns the time before which no clock can be right: the time of the release, else that of the commit, else
// zero for unknown. The time of linking is not used, because builds are reproducible.
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

// newDisk makes the access to the file system of this process. As root it sets owners.
func newDisk() *durable.Disk {
	d := &durable.Disk{Chown: os.Geteuid() == 0}
	arm(d)
	return d
}

// rcConfStays is how long the daemon uses an answer of sysrc; a verb asks once. rcConfRests is the pause after a
// question that had no answer within rcConfPatience.
const (
	rcConfStays    = time.Minute
	rcConfRests    = time.Minute
	rcConfPatience = 5 * time.Second
)

// rcAsker asks the system and rc.conf for this host's name and for the way in which it runs sendmail.
type rcAsker struct {
	root   string // with --root, this machine's rc.conf does not apply
	daemon bool   // rc.conf is asked again when its answer is old
	clock  func() time.Time

	vars   map[string]string
	next   time.Time // the time of the next question; zero means that none was asked yet
	unread error     // why the last question had no answer
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

// ask asks rc.conf if its last answer is too old. rc.d/mailcertd passes the settings of rc.conf in MAILCERTD_RC_CONF,
// in the format of sysrc(8), because it has read rc.conf already and sysrc takes 0.15 s. It passes them to its verbs
// but not to the daemon, which daemon(8) may start again months later.
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
	if a.next = a.clock().Add(rcConfRests); a.unread == nil { // without an answer the former one is used
		a.vars, a.next = got, a.clock().Add(rcConfStays)
	}
}

// rcConf asks sysrc(8) for all variables at once, including those in rc.conf.d/sendmail, which rc.d/sendmail reads too.
// A sysrc without the option -s is asked without it. Where there is no sysrc, or it has no answer, no variable is set.
// It is an error if sysrc could not be run or did not end in time.
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
		case err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0): // it did not answer in time, or was killed
			return nil, err
		case err == nil || len(said.Out) > 0:
			return sysrcValues(string(said.Out), names), nil
		}
	}
	return nil, nil
}

// sysrcValues parses the output of sysrc, lines of "name: value". A value may have several lines.
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
