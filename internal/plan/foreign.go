package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// foreign reports on an installed pair that mailcertd must not replace.
func foreign(p *pair) (found finding) {
	if p.unjudged() {
		for _, e := range []struct {
			r   Reason
			n   durable.Node
			err error
		}{{KeyUnreadable, p.keyFile.Node, p.keyFile.Key.Err}, {CertUnreadable, p.certFile.Node, p.certFile.File.Err}} {
			if p.leaf != nil && p.leaf.PublicKey == nil && e.r == CertUnreadable {
				e.err = fmt.Errorf("%w: mailcertd does not know this kind of public key", pki.ErrUnsupported)
			}
			if e.err != nil {
				found.report(Problem{Reason: e.r, Severity: Warning, Path: e.n.Path,
					Text: "cannot be checked and is left alone: " + e.err.Error(),
					Hint: "to replace it, run `mailcertd renew --force`, which keeps a backup"})
			}
		}
		return found
	}
	why := "issued by another CA (" + pki.Readable(p.leaf.RawIssuer) +
		"): mailcertd keeps it as it is and does not renew it"
	by := "one of our own CA"
	if p.issuer.acme() {
		by = "one of " + p.issuer.name()
	}
	hint := "to replace it by " + by + ", run `mailcertd renew --force`, which keeps a backup"
	if p.issuer.Kind == config.IssuerNone {
		hint = "to replace it, run `mailcertd install FILE`, which keeps a backup"
	} else if p.is != certdir.Host { // --force replaces all pairs, also a bought host.cert
		hint = "to replace it alone by " + by + ", move " + p.is.KeyFile + " and " + p.is.CertFile +
			" away, then run `mailcertd ensure`; `mailcertd renew --force` replaces every certificate of another CA"
	}
	sev := Notice
	if p.wish.Renew && !p.wish.Force && p.asked {
		sev = Error // a person asked for a renewal that is not done
	}
	found.report(Problem{Reason: ForeignKept, Severity: sev, Path: certPath(p), Text: why, Hint: hint})
	if p.name != "" && !p.covers(p.leaf) && p.leaf.VerifyHostname(p.name) != nil {
		found.report(Problem{Reason: WrongName, Severity: Warning, Path: certPath(p),
			Text: "is for " + strings.Join(CertNames(p.leaf), ", ") + ", but this host is " + p.name})
	}
	switch server, client := purposes(p.leaf); {
	case !server && p.is.Server():
		found.report(Problem{Reason: WrongPurpose, Severity: Warning, Path: certPath(p),
			Text: "is not for servers (its extendedKeyUsage lacks serverAuth): hosts that send mail to this one log " +
				"verify=FAIL"})
	case !client && p.shown():
		pr := notForClients(certPath(p))
		if p.is == certdir.Client { // the configuration has a client pair already
			pr.Hint = hint
		}
		found.report(pr)
	}
	found = found.and(strength(p))
	if e := p.certFile; e.File.Behind != nil {
		found.report(Problem{Reason: ChainBroken, Severity: Warning, Path: certPath(p),
			Text: "the part after its first certificate cannot be read (" + e.File.Behind.Error() +
				"): sendmail loads only the first one, which is kept; the CAs after it get no hash link",
			Hint: "copy the file again from its source"})
	}
	if p.certFile.File.Marked {
		found.report(Problem{Reason: CertUnreadable, Severity: Notice, Path: certPath(p),
			Text: "begins with a byte-order mark, with which OpenSSL before 3.0 cannot read it; it is kept as it is",
			Hint: "save the file as UTF-8 without a byte-order mark"})
	}
	if p.at.Before(p.leaf.NotBefore) {
		found.report(Problem{Reason: NotYetValid, Severity: Warning, Path: certPath(p), Text: "not valid before " +
			moment(p.leaf.NotBefore)})
		found.lookAt(p.leaf.NotBefore, "certificate becomes valid")
	}
	return found
}

// strength reports a kept certificate that is too weak for security level 2, or whose digest newer releases refuse.
func strength(p *pair) (found finding) {
	if !pki.SignatureKnown(p.leaf) && !pki.SelfSigned(p.leaf) {
		found.report(Problem{Reason: CertUnreadable, Severity: Warning, Path: certPath(p),
			Text: "is signed with " + signature(p.leaf) +
				", which mailcertd does not know, so it is kept; if sendmail's OpenSSL does not know it either, " +
				"it reports \"" + pki.WeakDigest + "\", and sendmail offers no STARTTLS",
			Hint: "see whether `openssl x509 -noout -text -in " + certPath(p) +
				"` prints a name for the signature algorithm; " +
				"if it prints none, ask the CA for a certificate that is signed with SHA-256"})
	}
	switch (pki.Libssl{Level: 2}).Refuses(p.leaf) {
	case pki.WeakKey:
		found.report(Problem{Reason: KeyWeak, Severity: Warning, Path: keyPath(p),
			Text: "the key is " + string(pki.TypeOf(p.leaf.PublicKey)) +
				": OpenSSL loads it at security level 1, but not at level 2, the default of OpenSSL 3.2 and of " +
				"Debian; at level 2 sendmail offers no STARTTLS, and peers log verify=FAIL",
			Hint: "get a certificate for a stronger key"})
	case pki.WeakDigest:
		found.report(Problem{Reason: CertWeak, Severity: Warning, Path: certPath(p),
			Text: "is signed with " + signature(p.leaf) +
				", which OpenSSL 3 does not load; it is kept, because sendmail's older OpenSSL serves it",
			Hint: "ask its CA for a certificate that is signed with SHA-256"})
	}
	return found
}

// blocked reports a directory or a special file under a name that mailcertd needs for a file.
func blocked(n durable.Node) (found finding) {
	if n.Err != nil && !errors.Is(n.Err, durable.ErrNotRegular) {
		found.report(Problem{Reason: Unreadable, Severity: Error, Path: n.Path,
			Text: "cannot be read: " + n.Err.Error(),
			Hint: readHint(n.Err)})
		return found
	}
	what := "a special file"
	if n.IsDir {
		what = "a directory"
	}
	found.report(Problem{Reason: InTheWay, Severity: Error, Path: n.Path,
		Text: "is " + what + ", but mailcertd must put a file with this name here",
		Hint: "move it away; mailcertd does not delete it"})
	return found
}

// readHint is what a person can do about a file that cannot be read; "" where the error says it already.
func readHint(err error) string {
	var no syscall.Errno
	switch {
	case errors.Is(err, durable.ErrTooLarge):
		return "move it away; mailcertd does not delete it"
	case errors.Is(err, fs.ErrPermission):
		return "run this as root, or correct its mode and owner"
	case errors.Is(err, syscall.ELOOP):
		return "remove the link: it points to itself"
	case errors.As(err, &no):
		return "it is not overwritten; mailcertd reads it again at the next check"
	}
	return ""
}
