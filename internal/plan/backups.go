package plan

import (
	"path/filepath"
	"slices"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/state"
)

// oldKeys returns the copies of replaced keys of our own, from the state and from the backups: after a crash or a lost
// state file such a copy must still be deleted some day.
func oldKeys(known []state.OldKey, own []durable.Backup) []state.OldKey {
	for _, g := range own {
		for _, f := range g.Files {
			if f.Secret && !f.Deleted && !slices.ContainsFunc(known, func(k state.OldKey) bool {
				return k.Backup == g.ID &&
					k.Name == f.Name
			}) {
				known = append(known, state.OldKey{Backup: g.ID, Name: f.Name})
			}
		}
	}
	return known
}

// oldKeyKept is how long a replaced key of our own stays after sendmail uses its successor.
const oldKeyKept = 7 * 24 * time.Hour

// housekeeping moves and prunes backups, and deletes old keys whose time is over. settled says that no pickup is
// pending.
func housekeeping(a *assessment, sofar finding, settled bool) (found finding, keys []state.OldKey) {
	if err := a.obs.BackupsErr; err != nil {
		found.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir,
			Text: "the backups cannot be listed, so none is removed: " + err.Error()})
	}
	// A state directory that cannot be written is reported already, and the backups are read where they are.
	if from := a.obs.FormerBackups; from != "" && a.obs.StateErr == nil {
		found.do(Action{Kind: MoveBackups, Reason: BackupMove, Path: from,
			Text: toMove.With("the backups in " + from + " to " + filepath.Join(filepath.Dir(from), state.BackupsDir))})
	}
	var own []durable.Backup
	for _, g := range a.obs.Backups {
		if g.Err != nil {
			found.report(Problem{Reason: Unreadable, Severity: Warning, Path: a.cfg.State.Dir,
				Text: "backup " + g.ID + " cannot be read: " + g.Err.Error()})
			continue
		}
		if !g.Foreign && !g.Damaged {
			own = append(own, g)
		}
	}
	if keep := a.cfg.State.Keep; len(own) > keep && a.obs.BackupsErr == nil {
		for _, g := range own[keep:] { // newest first
			found.do(Action{Kind: PruneBackup, Reason: BackupPrune, ID: g.ID, Text: toRemove.With("backup " + g.ID)})
		}
	}
	keys = oldKeys(slices.Clone(a.obs.State.OldKeys), own)
	inUse := a.works() && settled && !a.doing(sofar, Install, Obtain)
	for i, k := range keys {
		switch {
		case k.After.IsZero() && inUse: // the week begins when the successor is in use
			keys[i].After = a.stamp().Add(oldKeyKept)
		case k.After.IsZero():
		case !a.at.Before(k.After) && a.clock == clockFine:
			found.do(Action{Kind: DeleteOldKey, Reason: OldKeyDelete, ID: k.Backup, Path: k.Name,
				Text: toDelete.With("the replaced key in backup " + k.Backup)})
		default:
			found.lookAt(k.After, "a replaced key is deleted")
		}
	}
	return found, keys
}
