package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
)

// LeftoverKind is the kind of an unused file or folder in a directory of ours.
type LeftoverKind int

// The kinds.
const (
	// Unwritten is a file or a backup that was not written to its end and has its temporary name.
	Unwritten LeftoverKind = iota
	// StateAside is the copy of a state file that could not be read.
	StateAside
	// DatabaseAside is the copy of a file of the CA's openssl database from before its repair.
	DatabaseAside
	// DamagedBackup is a backup without a manifest that can be read.
	DamagedBackup
	// UnmadeCA is the folder in which a new CA was being made, beside the CA's place.
	UnmadeCA
)

// Leftover is an unused file or folder in a directory of ours.
type Leftover struct {
	Kind LeftoverKind
	Path string
	ID   string // of a backup, complete or not; "" for a file
	// Since is its ctime. Zero where nobody can be writing it now, because this process holds the lock for that.
	Since time.Time
	Parts []durable.Saved // DamagedBackup: what is in it
	Err   error           // DamagedBackup: why its content is unknown
}

// asideKept is how long the copy of an unreadable state file is kept for a person to look at.
const asideKept = 30 * 24 * time.Hour

// leftovers decides about what crashes and damage have left. It removes what mailcertd made and never finished, or what
// also exists elsewhere; it reports what may be a person's only copy, and keeps it until a person removes it.
func leftovers(a *assessment, before finding) (found finding) {
	if err := a.obs.LeftoversErr; err != nil {
		found.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "mailcertd cannot look for remains of interrupted changes: " + err.Error()})
	}
	for _, l := range a.obs.Leftovers {
		act := Action{Kind: Clear, Reason: LeftOver, Path: l.Path, ID: l.ID, Parts: l.Parts}
		if age := a.now.Sub(l.Since); (l.Kind == Unwritten || l.Kind == UnmadeCA) &&
			age < leftoverSettles && age > -leftoverSettles {
			found.lookAt(l.Since.Add(leftoverSettles), "a temporary file can be removed")
			continue
		}
		switch l.Kind {
		case Unwritten:
			act.Text = toRemove.With(l.Path + ", which an interrupted write left")
			found.report(Problem{Reason: LeftOver, Severity: Warning, Path: l.Path, Repairable: true,
				Text: "an interrupted write left it"})
			found.do(act)
		case UnmadeCA:
			// InitCA continues in this folder.
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
				Text: "this is a state file that could not be read; mailcertd removes it on " + moment(ends),
				Hint: "nothing uses it: find out what is wrong with it, or remove it"})
		case DatabaseAside:
			found.report(Problem{Reason: KeptAside, Severity: Notice, Path: l.Path,
				Text: "this is a copy of a file of the CA's database from before its repair",
				Hint: "compare it with " + beforeAside(l.Path) +
					", then remove it; mailcertd does not remove it, because it may contain rows that exist nowhere " +
					"else"})
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
				text += "; it contains " + names(l.Parts)
			}
			found.report(Problem{Reason: BackupDamaged, Severity: Warning, Path: l.Path, Text: text,
				Hint: "copy what you want to keep, then remove it; mailcertd does not remove it, because it may " +
					"contain a file " +
					"that exists nowhere else"})
		}
	}
	return found
}

// nothingNew reports whether each part is empty, made by mailcertd, or also in the certs directory.
func nothingNew(a *assessment, parts []durable.Saved) bool {
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

func names(parts []durable.Saved) string {
	var out []string
	for _, f := range parts {
		out = append(out, f.Name)
	}
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more", len(out)-5))
	}
	return strings.Join(out, ", ")
}

// beforeAside is the path of the file from which the copy NAME.bad-TIME was made.
func beforeAside(path string) string {
	base, _, _ := strings.Cut(filepath.Base(path), ".bad-")
	return filepath.Join(filepath.Dir(path), base)
}
