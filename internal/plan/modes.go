package plan

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
)

// modes repairs modes and owners that sendmail would refuse, of the certs directory and in it. Nothing is changed
// through a link that leaves the certs directory, and nothing above it; those are reported.
func modes(a *assessment) (found finding) {
	for _, c := range a.verdict.Complaints {
		if c.Mend.Kind == mta.MendNone {
			continue
		}
		if a.cf().Node.Err != nil { // DontBlameSendmail is unknown; cfProblems says why
			continue
		}
		mend := c.Mend
		repairable := mayMend(a, mend.Path) && (mend.Kind != mta.MendOwner || a.obs.Root)
		sev := Warning
		if c.Fatal {
			sev = Error
		}
		pr := Problem{Reason: ModeRefused, Severity: sev, Path: mend.Path, Text: "sendmail would report: " + c.Text,
			Repairable: repairable}
		switch mend.Kind {
		case mta.MendMode:
			pr.Hint = fmt.Sprintf("chmod %04o %s", mend.Mode.Perm(), mend.Path)
			if above := slices.ContainsFunc(a.obs.Certs.Parents,
				func(n durable.Node) bool { return n.Resolved == mend.Path }); above {
				pr.Hint = aboveHint(mend)
			}
			if repairable {
				found.do(Action{Kind: Chmod, Reason: ModeRefused, Path: mend.Path, Mode: mend.Mode,
					Text: toChange.With(fmt.Sprintf("the mode of %s to %04o (%s)", mend.Path,
						mend.Mode.Perm(), c.Text))})
			}
		case mta.MendOwner:
			pr.Hint = "chown 0:0 " + mend.Path
			if repairable {
				found.do(Action{Kind: Chown, Reason: ModeRefused, Path: mend.Path,
					Text: toChange.With("the owner of " + mend.Path + " to 0:0 (" + c.Text + ")")})
			}
		}
		found.report(pr)
	}
	return found
}

func mayMend(a *assessment, path string) bool {
	base := a.obs.Certs.Node.Resolved
	if base == "" {
		return false
	}
	return path == base || filepath.Dir(path) == base
}

// aboveHint is for a parent of the certs directory: it belongs to others, so a person decides.
func aboveHint(m mta.Mend) string {
	if m.Mode&fs.ModeSticky != 0 { // for example /tmp, which must stay writable
		return "every user may write in " + m.Path + ", which is its purpose: set certs.dir to a directory that only " +
			"root can change"
	}
	return "mailcertd does not change this directory: run `chmod go-w` for " + m.Path
}

// exposed reports private keys in files for certificates that other users can read. A person put them there, and
// sendmail serves them, so the files stay as they are: only the person knows who else reads them.
func exposed(a *assessment) (found finding) {
	files := []certdir.CertEntry{a.obs.Certs.CA}
	for _, p := range a.pairs {
		files = append(files, p.certFile)
	}
	for _, e := range files {
		mode := e.Node.Mode.Perm()
		if !e.HasKey || mode&0o044 == 0 {
			continue
		}
		who := "every user of this host"
		if mode&0o004 == 0 {
			who = fmt.Sprintf("the group %d", e.Node.GID)
		}
		found.report(Problem{Reason: ModeLoose, Severity: Error, Path: e.Node.Path,
			Text: fmt.Sprintf("contains a private key, which %s can read: its mode is %04o", who, mode),
			Hint: "chmod 600 " + e.Node.Path + ", with which sendmail still reads it; then get a certificate for a " +
				"new key, because others could read this one"})
	}
	return found
}
