package plan

import (
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
)

// Daemon says whether a mailcertd daemon runs on this host.
type Daemon int

// What is known of the daemon. It is found out only where a person asks: the daemon itself need not know, and at boot
// `ensure` runs before it.
const (
	DaemonUnknown Daemon = iota
	DaemonRuns
	DaemonAway
)

// WithoutDaemon reports what waits for a daemon where none runs: it would stand still until somebody notices. What
// `ensure` does as well is reported as its actions. A plan for which that is not known reports nothing.
func WithoutDaemon(cfg config.Config, is Daemon, p Plan) []Problem {
	if is != DaemonAway {
		return nil
	}
	waits := waitsForDaemon(cfg, p)
	if len(waits) == 0 {
		return nil
	}
	hint := "run `service mailcertd start`"
	if cfg.Root != "" {
		hint = "run `mailcertd --root " + cfg.Root + " run`"
	}
	return []Problem{{Reason: DaemonDown, Severity: Warning, Path: cfg.Certs.Dir,
		Text: "no mailcertd daemon is running: until one runs, " + strings.Join(waits, "; "), Hint: hint}}
}

// waitsForDaemon says what a daemon would do now or later that no action of the plan does.
func waitsForDaemon(cfg config.Config, p Plan) (out []string) {
	for _, c := range certdir.Pairs() {
		if p.TLSA.Under(c.Name) {
			out = append(out, "the next key of "+c.KeyFile+" is not used")
		}
	}
	switch asked := !p.TLSA.Memory.Looked.IsZero(); {
	case cfg.DANE.Publish == config.PublishUpdate && (!asked || len(p.TLSA.Edits) > 0):
		out = append(out, "no TLSA record is changed in the DNS")
	case cfg.DANE.Publish == config.PublishManual && !asked:
		out = append(out, "the DNS is not asked which TLSA records there are")
	}
	if p.State.Pickup != nil {
		out = append(out, "sendmail is not told again of the files on disk")
	}
	if len(p.State.Notify) > 0 {
		out = append(out, "the commands of notify are not run again")
	}
	if asksForCert(p) {
		out = append(out, "no certificate is asked for")
	}
	if _, failed := p.State.Failures[TracesFailure]; failed || p.Ask != nil && p.Ask.Tidy {
		out = append(out, "what an order has left is not removed")
	}
	return out
}

// asksForCert reports whether an issuer elsewhere is to be asked for a certificate, now or after its last refusal.
func asksForCert(p Plan) bool {
	return p.Ask != nil && p.Ask.Request != nil || slices.ContainsFunc(p.Facts.Pairs, func(f PairFacts) bool {
		_, failed := p.State.Failures[ObtainFailureOf(f.Pair)]
		return failed && f.Wanted && (f.Waits || f.LeafID == "" || !f.Due.IsZero() && !p.At.Before(f.Due))
	})
}

// daemonHint is what a person does about a certificate that is overdue for no known reason.
func daemonHint(is Daemon) string {
	switch is {
	case DaemonAway:
		return "no mailcertd daemon is running: run `service mailcertd start`"
	case DaemonRuns:
		return "see `service mailcertd check`"
	}
	return "check that the daemon is running (`service mailcertd status`), and see `service mailcertd check`"
}
