package plan

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// recovery rolls an unfinished change forward, or removes what it left, before any other decision.
func recovery(a *assessment) (found finding, unfinished bool) {
	pend := a.obs.Pending
	left := slices.DeleteFunc(slices.Clone(pend.Staged), func(n string) bool {
		return slices.Contains(certdir.KeyFiles(),
			n)
	})
	if !pend.Journal && !pend.Damaged && !pend.Empty && len(left) == 0 {
		return found, false
	}
	what := "what an interrupted change left"
	if len(left) > 0 {
		what += ": " + strings.Join(left, ", ")
	}
	text := toRemove.With(what)
	if pend.Journal {
		text = toFinish.With("an interrupted change")
	}
	found.report(Problem{Reason: Unfinished, Severity: Warning, Path: a.obs.Certs.Path, Repairable: true,
		Text: "an earlier change was interrupted"})
	found.do(Action{Kind: Recover, Reason: Unfinished, Path: a.obs.Certs.Path, Text: text})
	return found, true
}

func stateProblems(a *assessment) (found finding) {
	l := a.obs.Loaded
	if l.Unread {
		found.report(Problem{Reason: Unreadable, Severity: Error, Path: l.Path,
			Text: "the state file cannot be read now: " + l.Problem.Error(),
			Hint: "it is not overwritten; mailcertd reads it again at the next check"})
	} else if l.Problem != nil {
		text := strings.TrimPrefix(l.Problem.Error(), l.Path+": ")
		if !errors.Is(l.Problem, state.ErrNewer) && !errors.Is(l.Problem, durable.ErrNotRegular) {
			text = "the state file is damaged: " + text
		}
		found.report(Problem{Reason: StateDamaged, Severity: Warning, Path: l.Path, Text: text, Hint: aside(l)})
	}
	if n := a.obs.StateDir; n.Exists && !n.IsDir {
		found.report(Problem{Reason: StateUnwritable, Severity: Warning, Path: n.Path,
			Text: "is not a directory: mailcertd can remember nothing and save no backups",
			Hint: "move it away; mailcertd does not delete it"})
	} else if err := a.obs.StateErr; err != nil && !l.Unread {
		hint := "certificates are still made and renewed; mount the file system writable, or free some space, so " +
			"that mailcertd knows after a restart what it has done"
		if Obtains(a.cfg, config.IssuerACME) {
			hint = "mount the file system writable, or free some space: until then nothing is ordered from " +
				a.cfg.Issuer.ACME.Directory + ", because orders that are not remembered would be placed again and again"
		}
		found.report(Problem{Reason: StateUnwritable, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "mailcertd can remember nothing: " + err.Error(), Hint: hint})
	}
	if in := a.obs.StateInMemory; in != "" {
		found.report(Problem{Reason: StateVolatile, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "is on " + in + ", in memory: after a boot the account at " + a.cfg.Issuer.ACME.Directory +
				" and the count of the day's orders are lost, so that each boot makes another account",
			Hint: "set state.dir to a directory on a disk, such as " +
				filepath.Join(filepath.Dir(a.cfg.Certs.Dir), "mailcertd") + ", and move what is in this one there"})
	}
	return found.and(secrets(a))
}

// aside says where a damaged state file was moved.
func aside(l state.Loaded) string {
	switch {
	case errors.Is(l.Problem, state.ErrNewer):
		return "it is left as it is: install that newer mailcertd, or move the file away"
	case errors.Is(l.Problem, durable.ErrNotRegular):
		return "move it away; mailcertd does not delete it"
	}
	return "mailcertd starts with an empty state, and keeps the file under another name; if a key was being changed, " +
		"run `mailcertd renew --rekey` again"
}

// certsBlocked reports whether the certs directory cannot take files.
func certsBlocked(a *assessment) bool {
	n := a.obs.Certs.Node
	return n.Err != nil || n.Exists && !n.IsDir || n.Kind == durable.Link && !n.Exists
}

func directories(a *assessment) (found finding) {
	d := a.obs.Certs
	n := d.Node
	switch {
	case d.Err != nil || n.Err != nil:
		err := d.Err
		if err == nil {
			err = n.Err
		}
		found.report(Problem{Reason: Unreadable, Severity: Error, Path: d.Path, Text: err.Error(), Hint: readHint(err)})
	case n.Kind == durable.Link && !n.Exists:
		found.report(Problem{Reason: InTheWay, Severity: Error, Path: d.Path, Text: "is a dangling link to " + n.Target,
			Hint: "mount what it points to, or remove the link"})
	case n.Exists && !n.IsDir:
		found.report(Problem{Reason: InTheWay, Severity: Error, Path: d.Path, Text: "is not a directory",
			Hint: "move it away; mailcertd does not delete it"})
	case !n.Exists:
		found.report(Problem{Reason: DirMissing, Severity: Error, Path: d.Path, Text: "the directory is missing",
			Repairable: true})
		found.do(Action{Kind: MakeDir, Reason: DirMissing, Path: d.Path, Mode: dirMode, Text: toCreate.With(d.Path)})
	}
	return found
}
