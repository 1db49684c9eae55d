package plan

import (
	"fmt"
	"io/fs"

	"mailcertd/internal/durable"
)

// secrets closes the state directory, and what it has of the accounts at ACME CAs, to other users: who has the key of
// an account can revoke its certificates and order others. A link is only reported, since what it leads to is not ours.
func secrets(a *assessment) (found finding) {
	if a.obs.StateDir.IsDir {
		found = loose(a, a.obs.StateDir)
	}
	for _, n := range a.obs.ACMEFiles {
		switch {
		case n.Err != nil:
			found.report(Problem{Reason: Unreadable, Severity: Warning, Path: n.Path,
				Text: "its mode and owner cannot be checked: " + n.Err.Error(), Hint: readHint(n.Err)})
		case n.IsDir || n.IsRegular:
			found = found.and(loose(a, n))
		}
	}
	return found
}

// loose corrects the mode and the owner of one file or directory.
func loose(a *assessment, n durable.Node) (found finding) {
	mode, why := fs.FileMode(keyMode), "because only root may read it"
	if n.IsDir {
		mode, why = secretMode, "because it contains keys"
	}
	repairable := n.Kind != durable.Link
	if a.obs.Root && n.UID != 0 {
		pr := Problem{Reason: ModeLoose, Severity: Warning, Path: n.Path, Repairable: repairable,
			Text: fmt.Sprintf("belongs to user %d, must belong to root, %s", n.UID, why)}
		if repairable {
			found.do(Action{Kind: Chown, Reason: ModeLoose, Path: n.Path,
				Text: toChange.With("the owner of " + n.Path + " to 0:0")})
		} else {
			pr.Hint = "chown 0:0 " + n.Path
		}
		found.report(pr)
	}
	if n.Mode.Perm()&0o077 != 0 {
		pr := Problem{Reason: ModeLoose, Severity: Warning, Path: n.Path, Repairable: repairable,
			Text: fmt.Sprintf("its mode is %04o, must be %04o, %s", n.Mode.Perm(), mode, why)}
		if repairable {
			found.do(Action{Kind: Chmod, Reason: ModeLoose, Path: n.Path, Mode: mode,
				Text: toChange.With(fmt.Sprintf("the mode of %s to %04o", n.Path, mode))})
		} else {
			pr.Hint = fmt.Sprintf("chmod %04o %s", mode, n.Path)
		}
		found.report(pr)
	}
	return found
}
