package plan

import (
	"fmt"

	"mailcertd/internal/certdir"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
)

// parameters decides about dh.param.
func parameters(a *assessment) (out outcome) {
	e := a.obs.Certs.DH
	if e.Node.Err != nil || e.Node.Exists && !e.Node.IsRegular {
		return outcome{finding: blocked(e.Node)}
	}
	group := dhGroup(a)
	have, err := dh.Read(e.Node.Data)
	var reason Reason
	sev, text := Warning, ""
	switch {
	case !e.Node.Exists:
		reason, text = DHMissing, missing(e.Node)
	case err != nil:
		reason, text = DHUnusable, err.Error()
	case a.cfg.DH == keepDH && group == "":
		// Parameters that load are kept.
	case have.Name != "" && group != "" && have.Name != group && e.Node.Kind == durable.File:
		reason, sev, text = DHGroup, Notice, "contains "+have.Name+", but "+group+" is configured"
	case a.wish.Group != "" && have.Name != group:
		out.report(keptParameters(e.Node, group))
	case have.Name == "" && have.P.BitLen() < 2048:
		out.report(Problem{Reason: DHWeak, Severity: Warning, Path: e.Node.Path,
			Text: "contains parameters of less than 2048 bits; mailcertd did not make them, so it keeps them",
			Hint: "to get an RFC 7919 group instead, remove the file and run `mailcertd ensure`"})
	}
	if reason == "" {
		return out
	}
	if until, now := a.writtenNow(e.Node); now && reason == DHUnusable {
		out.report(Problem{Reason: reason, Severity: sev, Path: e.Node.Path, Text: text})
		return out.and(outcome{finding: leaveAlone(until, e.Node)})
	}
	if group == "" {
		group = defaultGroup
	}
	params, err := dh.Group(group)
	if err != nil {
		out.report(Problem{Reason: reason, Severity: Error, Path: e.Node.Path, Text: err.Error()})
		return out
	}
	out.report(Problem{Reason: reason, Severity: sev, Path: e.Node.Path, Text: text, Repairable: true})
	out.change.Files = []File{{Name: certdir.DHName, Mode: publicMode, Data: params.PEM(), Reason: reason}}
	return out
}

// keptParameters says why a person does not get the group that was asked for: dh.param is somebody else's, so it stays
// until its owner removes it.
func keptParameters(n durable.Node, group string) Problem {
	pr := Problem{Reason: DHGroup, Severity: Error, Path: n.Path,
		Text: "is kept, because it contains parameters that mailcertd did not make",
		Hint: fmt.Sprintf("to get %s, remove the file, then run `mailcertd dhparam --group %s`", group, group)}
	if n.Kind == durable.Link {
		pr.Text = "is kept, because it is a link to " + n.Target
		pr.Hint = fmt.Sprintf("to get %s, remove the link, then run `mailcertd dhparam --group %s`", group, group)
	}
	return pr
}

const (
	keepDH       = "keep"
	defaultGroup = "ffdhe3072" // RFC 7919
)

// dhGroup is the wanted group, "" to keep any. A choice made with `mailcertd dhparam` holds until the configuration
// changes.
func dhGroup(a *assessment) string {
	if a.wish.Group != "" {
		return a.wish.Group
	}
	if ch := a.obs.State.DH; ch.Group != "" && ch.Config == a.cfg.DH {
		return ch.Group
	}
	if a.cfg.DH == keepDH {
		return ""
	}
	return a.cfg.DH
}

// dhIsOurs reports whether dh.param is a published group, which can be written again at any time.
func dhIsOurs(a *assessment) bool {
	have, err := dh.Read(a.obs.Certs.DH.Node.Data)
	return err == nil && have.Name != ""
}
