package plan

import (
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
		if p.tooEarly(c) || p.at.After(c.NotAfter) || !p.issuer.living(c, p.at) ||
			pki.Fingerprint(c) == pki.Fingerprint(p.leaf) {
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
			if is.Row != nil && is.Cert.Equal(x) {
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

// arrived lists the certificates that could be installed: those in newcerts, or the one that the CA on the other host
// sent.
func arrived(p *pair) []ca.Issued {
	if !p.issuer.remote() && !p.issuer.acme() {
		if p.obs.CA.Status != ca.Complete {
			return nil
		}
		return p.obs.CA.Issued
	}
	l := p.sent
	if l == nil || p.issuer.remote() && !p.issuer.issued(l) {
		return nil
	}
	return []ca.Issued{{Serial: l.SerialNumber, Cert: l}}
}

// sent is the last certificate for the pair from the CA on the other host; nil: none.
func sent(p *pair) *x509.Certificate {
	if p.issuer.acme() {
		return p.obs.Orders[p.is.Name].Leaf
	}
	if p.is == certdir.Host {
		return p.obs.Reply.Leaf
	}
	return p.obs.OtherReplies[p.is.Name].Leaf
}

// isAnswer reports whether c is the last certificate that the ACME CA sent for the pair.
func (p *pair) isAnswer(c *x509.Certificate) bool {
	return p.issuer.acme() && c != nil && c.Equal(p.sent)
}

// chainOf returns the certificates that came with a leaf of the ACME CA, its issuer first.
func chainOf(p *pair, c *x509.Certificate) []*x509.Certificate {
	if !p.isAnswer(c) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.obs.Orders[p.is.Name].CAs), pki.SelfSigned)
}

// answerLost reports whether the last answer of the ACME CA cannot be read, or is gone, and was never installed. The CA
// still has it, so that no order is spent.
func answerLost(p *pair) bool {
	sent := p.obs.State.ACME[p.is.Name].Sent
	if sent != "" && sent == pki.Fingerprint(p.leaf) {
		return false
	}
	return p.obs.OrderErrs[p.is.Name] != nil || sent != "" && p.sent == nil
}
