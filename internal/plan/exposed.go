package plan

import (
	"fmt"

	"mailcertd/internal/certdir"
)

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
