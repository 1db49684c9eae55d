package plan

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"slices"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// candidate looks in newcerts for a certificate for this key and these names that is valid, not revoked and better than
// the installed one in what why complains about; nil when there is none.
func (p *pair) candidate(pub crypto.PublicKey, why Reason) *ca.Issued {
	if pub == nil || p.name == "" {
		return nil
	}
	issued := arrived(p)
	for i := range issued {
		is := &issued[i]
		c := is.Cert
		if !pki.SamePublicKey(c.PublicKey, pub) || !pki.HasSAN(c) || !p.covers(c) || !p.fitsPurpose(c) {
			continue
		}
		if p.tooEarly(c) || p.at.After(c.NotAfter) || !p.issuer.living(c, p.at) || pki.Fingerprint(c) == pki.Fingerprint(p.leaf) {
			continue
		}
		before := everInstalled(p.obs, FileID(digest(content(p, c))))
		switch why {
		case KeyMissing, KeyUnusable, KeyWeak, CertMissing, CertUnusable, CertWeak, Mismatch:
			// Any matching certificate repairs this, also one that was installed before.
		case Asked, AskedKey, AskedForce:
			if before || p.owner.mine() && issuedEarlier(p.obs.CA.Issued, c, p.leaf) || p.isDue(c) {
				continue
			}
		case NotYetValid: // an older one serves too; a due one only where no new one can be signed
			if p.olderServes() && p.now.Before(c.NotBefore) || p.isDue(c) && p.maySign() && p.issuer.signs {
				continue
			}
		case LeafRevoked:
			if issuedEarlier(p.obs.CA.Issued, c, p.leaf) || p.isDue(c) || isListed(p, c) {
				continue
			}
		default:
			if p.isDue(c) {
				continue
			}
		}
		return is
	}
	return nil
}

// everInstalled reports whether a certificate with this FileID was ever installed, as far as the state says.
func everInstalled(obs Observed, id string) bool {
	o, known := obs.State.Ours[id]
	return known && (!o.Pending || slices.Contains(Lying(obs.Certs), id))
}

// issuedEarlier reports whether c was issued before leaf: by their rows in the CA's database where both have one.
// notBefore decides otherwise; it says less, because the CA's own notBefore is its lower bound.
func issuedEarlier(issued []ca.Issued, c, leaf *x509.Certificate) bool {
	line := func(x *x509.Certificate) (int, bool) {
		for _, is := range issued {
			if is.Row != nil && bytes.Equal(is.Cert.Raw, x.Raw) {
				return is.Row.Line, true
			}
		}
		return 0, false
	}
	if n, ok := line(c); ok {
		if m, ok := line(leaf); ok {
			return n < m
		}
	}
	return c.NotBefore.Before(leaf.NotBefore)
}

// leafChange installs a certificate, over the staged key or the installed one.
func leafChange(p *pair, is *ca.Issued, staged bool, why Reason) (c Change) {
	if staged {
		c.Files = append(c.Files, File{Name: p.is.KeyFile, Mode: keyMode, Source: FromStaging, Reason: why})
	}
	c.Files = append(c.Files, File{Name: p.is.CertFile, Mode: publicMode, Data: content(p, is.Cert),
		Reason: why})
	return c
}

// finishStaged handles a staged key that no present need explains. If a certificate for it exists, a crash interrupted
// a renewal, which is completed; otherwise the key is deleted.
func finishStaged(p *pair) (out outcome) {
	if !slices.Contains(p.obs.Pending.Staged, p.is.KeyFile) {
		return out
	}
	if unread, is := stagedUnread(p); is {
		return outcome{finding: unread}
	}
	staged := p.staged.Public
	if until, asked := p.waitsForAnswer(staged); asked {
		out.lookAt(until, "mailcertd stops waiting for the answer to a request")
		return out
	}
	if staged != nil && p.owner.mine() && !p.held() && p.maySign() && !stagedTwin(p) {
		if is := p.candidate(staged, AskedKey); is != nil {
			out.report(Problem{Reason: Unfinished, Severity: Warning, Path: keyPath(p), Repairable: true,
				Text: "a renewal with a new key was interrupted after its certificate was issued"})
			out.change = leafChange(p, is, true, Unfinished)
			return out
		}
	}
	out.do(unstage(p))
	return out
}

// unstage deletes a staged key.
func unstage(p *pair) Action {
	return Action{Kind: Unstage, Reason: Unfinished, Path: p.is.KeyFile,
		Text: toDelete.With("a prepared key that is not needed")}
}

// stagedUnread reports a staged key that cannot be read. It may be the only copy of a key for which a certificate was
// issued, so it is neither replaced nor deleted.
func stagedUnread(p *pair) (found finding, is bool) {
	if p.stagedErr == nil {
		return found, false
	}
	found.report(Problem{Reason: Unreadable, Severity: Error, Path: p.obs.Certs.Path + "/" + certdir.StagingDir + "/" +
		p.is.KeyFile,
		Text: "this key for the next certificate cannot be read, so it is left as it is: " + p.stagedErr.Error(),
		Hint: "check the disk; if the file is lost, remove it"})
	return found, true
}
