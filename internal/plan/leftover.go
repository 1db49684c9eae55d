package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
)

// LeftoverKind is what kind of thing is in a directory of ours that nobody uses.
type LeftoverKind int

// The kinds.
const (
	// Unwritten is a file or a backup under the temporary name that it has until it is whole.
	Unwritten LeftoverKind = iota
	// StateAside is a state file that could not be read.
	StateAside
	// DatabaseAside is what a file of the CA's openssl database held before it was repaired.
	DatabaseAside
	// DamagedBackup is a backup without a manifest that can be read.
	DamagedBackup
	// UnmadeCA is the folder beside the CA's place in which a new one was being made.
	UnmadeCA
)

// Leftover is something in a directory of ours that nobody uses.
type Leftover struct {
	Kind LeftoverKind
	Path string
	ID   string // of a backup, whole or not; "" for a file
	// Since is when it last changed, its ctime. Zero for what only the holder of the lock writes.
	Since time.Time
	Parts []durable.Archived // DamagedBackup: what is in it
	Err   error              // DamagedBackup: why that is not known
}

// asideKept is how long a state file that could not be read stays, for whoever wants to know what happened.
const asideKept = 30 * 24 * time.Hour

// leftovers decides about what crashes and damage have left, by one rule: what is of mailcertd alone and was never
// finished, or lies elsewhere too, is removed; what may hold a person's only copy is told, and stays until a person
// has removed it.
func leftovers(a *assessment, before finding) (found finding) {
	if err := a.obs.LeftoversErr; err != nil {
		found.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "mailcertd cannot look for what interrupted changes have left: " + err.Error()})
	}
	for _, l := range a.obs.Leftovers {
		act := Action{Kind: Clear, Reason: LeftOver, Path: l.Path, ID: l.ID, Parts: l.Parts}
		switch l.Kind {
		case Unwritten:
			if age := a.now.Sub(l.Since); age < leftoverSettles && age > -leftoverSettles {
				found.lookAt(l.Since.Add(leftoverSettles), "a temporary file can be removed")
				continue
			}
			act.Text = toRemove.With(l.Path + ", which an interrupted write left")
			found.report(Problem{Reason: LeftOver, Severity: Warning, Path: l.Path, Repairable: true,
				Text: "an interrupted write left it"})
			found.do(act)
		case UnmadeCA:
			// which takes it up
			if slices.ContainsFunc(before.actions, func(act Action) bool { return act.Kind == InitCA }) {
				continue
			}
			act.Text = toRemove.With(l.Path + ", in which a CA was not finished")
			found.report(Problem{Reason: LeftOver, Severity: Warning, Path: l.Path, Repairable: true,
				Text: "an interrupted first start left it: the CA in it was not finished, and has signed nothing"})
			found.do(act)
		case StateAside:
			ends := l.Since.Add(asideKept)
			if !a.now.Before(ends) && a.clock == clockFine {
				act.Text = toRemove.With(l.Path + ", a state file that could not be read")
				found.do(act)
				continue
			}
			found.lookAt(ends, "an unreadable state file is removed")
			found.report(Problem{Reason: KeptAside, Severity: Notice, Path: l.Path,
				Text: "this is a state file that could not be read; mailcertd removes it on " + day(ends),
				Hint: "nothing uses it: find out what is wrong with it, or remove it"})
		case DatabaseAside:
			found.report(Problem{Reason: KeptAside, Severity: Notice, Path: l.Path,
				Text: "this is a copy of a file of the CA's database from before its repair",
				Hint: "compare it with " + beforeAside(l.Path) +
					" and remove it; mailcertd does not, because it may contain what exists nowhere else"})
		case DamagedBackup:
			if l.Err == nil && nothingNew(a, l.Parts) {
				act.Reason = BackupDamaged
				act.Text = toRemove.With(l.Path +
					", an unfinished backup of files that are mailcertd's own or still exist in " +
					a.cfg.Certs.Dir)
				found.do(act)
				continue
			}
			text := "has no readable manifest, so it cannot be restored"
			if l.Err != nil {
				text += "; its content cannot be listed: " + l.Err.Error()
			} else if len(l.Parts) > 0 {
				text += "; it holds " + names(l.Parts)
			}
			found.report(Problem{Reason: BackupDamaged, Severity: Warning, Path: l.Path, Text: text,
				Hint: "copy what you want to keep, then remove it; mailcertd does not, because it may contain a file " +
					"that exists nowhere else"})
		}
	}
	return found
}

// nothingNew says that each of these is empty, of mailcertd, or is in the certs directory too.
func nothingNew(a *assessment, parts []durable.Archived) bool {
	lying := map[string]bool{}
	for _, sum := range Lying(a.obs.Certs) {
		lying[sum] = true
	}
	for _, t := range a.obs.Certs.Trust {
		lying[FileID(t.Digest)] = true
	}
	for _, f := range parts {
		if f.SHA256 == "" {
			return false
		}
		_, ours := a.obs.State.Ours[f.SHA256]
		if f.Size > 0 && !ours && !lying[f.SHA256] && !durable.TempOfManifest(f.Name) {
			return false
		}
	}
	return true
}

func names(parts []durable.Archived) string {
	var out []string
	for _, f := range parts {
		out = append(out, f.Name)
	}
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more", len(out)-5))
	}
	return strings.Join(out, ", ")
}

// beforeAside is the file that a copy NAME.bad-TIME was made of.
func beforeAside(path string) string {
	base, _, _ := strings.Cut(filepath.Base(path), ".bad-")
	return filepath.Join(filepath.Dir(path), base)
}
