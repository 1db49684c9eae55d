package plan

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
)

// recover asks for an unfinished change to be rolled forward, or for what it
// left behind to be cleared away, before anything else is decided.
func (a *assessment) recover(p *Plan) bool {
	pend := a.obs.Pending
	left := slices.DeleteFunc(slices.Clone(pend.Staged), func(n string) bool { return n == certdir.KeyName })
	if !pend.Journal && !pend.Damaged && !pend.Empty && len(left) == 0 {
		return false
	}
	text := "clear away what an interrupted change left: " + strings.Join(left, ", ")
	if len(left) == 0 {
		text = "clear away what an interrupted change left"
	}
	if pend.Journal {
		text = "finish an interrupted change"
	}
	p.report(Problem{Reason: Unfinished, Severity: Warning, Path: a.obs.Certs.Path, Mended: true, Text: "an earlier change was interrupted"})
	p.do(Action{Kind: Recover, Reason: Unfinished, Path: a.obs.Certs.Path, Text: text})
	return true
}

func (a *assessment) stateProblems(p *Plan) {
	l := a.obs.Loaded
	if l.Unread {
		p.report(Problem{Reason: Unreadable, Severity: Error, Path: l.Path, Text: "what is remembered cannot be read now: " + l.Problem.Error(),
			Hint: "nothing of it is written over; it is read again at the next look"})
	} else if l.Problem != nil {
		p.report(Problem{Reason: StateDamaged, Severity: Warning, Path: l.Path, Text: strings.TrimPrefix(l.Problem.Error(), l.Path+": "),
			Hint: "what it remembered is forgotten; the file is kept aside"})
	}
	if n := a.obs.StateDir; n.Exists && n.IsDir && n.Mode.Perm()&0o077 != 0 {
		p.report(Problem{Reason: ModeLoose, Severity: Warning, Path: n.Path, Mended: true,
			Text: fmt.Sprintf("mode is %04o, wanted is 0700: archived keys lie there", n.Mode.Perm())})
		p.do(Action{Kind: Chmod, Reason: ModeLoose, Path: n.Path, Mode: secretMode, Text: "chmod 0700 " + n.Path})
	}
}

// certsBlocked says that nothing can be put into the certs directory.
func (a *assessment) certsBlocked() bool {
	n := a.obs.Certs.Node
	return n.Err != nil || n.Exists && !n.IsDir || n.Kind == durable.Link && !n.Exists
}

func (a *assessment) directories(p *Plan) {
	d := a.obs.Certs
	n := d.Node
	switch {
	case d.Err != nil || n.Err != nil:
		err := d.Err
		if err == nil {
			err = n.Err
		}
		p.report(Problem{Reason: Unreadable, Severity: Error, Path: d.Path, Text: err.Error(), Hint: "run as root, or correct its mode and owner"})
	case n.Kind == durable.Link && !n.Exists:
		p.report(Problem{Reason: InTheWay, Severity: Error, Path: d.Path, Text: "is a dangling link to " + n.Target,
			Hint: "mount what it leads to, or remove the link"})
	case n.Exists && !n.IsDir:
		p.report(Problem{Reason: InTheWay, Severity: Error, Path: d.Path, Text: "is no directory", Hint: "move it away; mailcertd does not delete it"})
	case !n.Exists:
		p.report(Problem{Reason: DirMissing, Severity: Error, Path: d.Path, Text: "the directory is missing", Mended: true})
		p.do(Action{Kind: MakeDir, Reason: DirMissing, Path: d.Path, Mode: dirMode, Text: "make " + d.Path})
	}
}

// modes mends what sendmail would refuse and a chmod or chown can put right:
// in the certs directory and on the directory itself. Nothing is changed through
// a link that leaves the certs directory, and nothing above it: those are told.
func (a *assessment) modes(p *Plan) {
	for _, c := range a.verdict.Complaints {
		if c.Mend.Kind == mta.MendNone {
			continue
		}
		if a.cf().Node.Err != nil { // what it allows is not known; cfProblems tells why
			continue
		}
		mend := c.Mend
		mended := a.mayMend(mend.Path) && (mend.Kind != mta.MendOwner || a.obs.Root)
		sev := Warning
		if c.Fatal {
			sev = Error
		}
		pr := Problem{Reason: ModeRefused, Severity: sev, Path: mend.Path, Text: "sendmail says: " + c.Text, Mended: mended}
		switch mend.Kind {
		case mta.MendMode:
			pr.Hint = fmt.Sprintf("chmod %04o %s", mend.Mode.Perm(), mend.Path)
			if above := slices.ContainsFunc(a.obs.Certs.Parents, func(n durable.Node) bool { return n.Resolved == mend.Path }); above {
				pr.Hint = aboveHint(mend)
			}
			if mended {
				p.do(Action{Kind: Chmod, Reason: ModeRefused, Path: mend.Path, Mode: mend.Mode, Text: pr.Hint + ": " + c.Text})
			}
		case mta.MendOwner:
			pr.Hint = "chown 0:0 " + mend.Path
			if mended {
				p.do(Action{Kind: Chown, Reason: ModeRefused, Path: mend.Path, Text: pr.Hint + ": " + c.Text})
			}
		}
		p.report(pr)
	}
}

func (a *assessment) mayMend(path string) bool {
	base := a.obs.Certs.Node.Resolved
	if base == "" {
		return false
	}
	return path == base || filepath.Dir(path) == base
}

// aboveHint is for a directory that holds the certs directory: it belongs to
// others, so a person decides.
func aboveHint(m mta.Mend) string {
	if m.Mode&fs.ModeSticky != 0 { // such as /tmp, which must stay open
		return m.Path + " is open to everybody on purpose: set certs.dir to a directory that root alone can change"
	}
	return "mailcertd changes no directory above its own: chmod go-w " + m.Path
}

// oldKeyKept is how long a replaced key of our own stays after its successor
// is in use.
const oldKeyKept = 7 * 24 * time.Hour

func (a *assessment) housekeeping(p *Plan) {
	if err := a.obs.ArchiveErr; err != nil {
		p.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir, Text: "the archive cannot be listed, so nothing of it is dropped: " + err.Error()})
	}
	var own []durable.Generation
	for _, g := range a.obs.Archive {
		if g.Err != nil {
			p.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir,
				Text: "archived generation " + g.ID + " cannot be read: " + g.Err.Error()})
			continue
		}
		if !g.Foreign && !g.Damaged {
			own = append(own, g)
		}
	}
	if keep := a.cfg.State.Keep; len(own) > keep {
		for _, g := range own[keep:] { // newest first
			p.do(Action{Kind: PruneArchive, Reason: ArchivePrune, ID: g.ID, Text: "drop archived generation " + g.ID})
		}
	}
	inUse := a.works() && p.State.Debt == nil && !p.has(Install) && !p.has(Obtain)
	for i, k := range p.State.OldKeys {
		switch {
		case k.After.IsZero() && inUse: // its successor is in use from now on
			p.State.OldKeys[i].After = a.stamp().Add(oldKeyKept)
		case k.After.IsZero():
		case !a.now.Before(k.After) && a.clock == clockFine:
			p.do(Action{Kind: DeleteOldKey, Reason: OldKeyDelete, ID: k.Generation, Path: k.Name,
				Text: "delete the replaced key in generation " + k.Generation})
		default:
			p.lookAt(k.After, "a replaced key is deleted")
		}
	}
}
