package given

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"syscall"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Files deletes all files of the set.
func Files() Fact { return later(func(h *host) { h.empty(); h.Seen.Certs.Links = nil }) }

// Database removes all issued certificates from the CA's database.
func Database() Fact {
	return Seeing(func(o *plan.Observed) { o.CA.Issued, o.CA.Rows, o.CA.ServingRows = nil, 0, nil })
}

// Dangling replaces a file by a link to a file that does not exist.
func Dangling(name string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		n := &d.Cert.Node
		if name == certdir.KeyName {
			n = &d.Key.Node
			h.gone(n, &d.Key.Key.Err)
		} else {
			h.gone(n, &d.Cert.File.Err)
		}
		n.Kind, n.Target = durable.Link, "/data/"+name
	})
}

// MismatchedFor notes in the state that key and certificate have not matched for so long.
func MismatchedFor(d time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Mismatch = state.Seen{Digest: plan.SetID(h.Seen.Certs), Since: h.Now.Add(-d)}
	})
}

// AltNames configures host.altnames.
func AltNames(names ...string) Fact {
	return Configured(func(c *config.Config) { c.Host.AltNames = names })
}

// RotateAfter configures key.rotate_after.
func RotateAfter(d time.Duration) Fact {
	return Configured(func(c *config.Config) { c.Key.RotateAfter = d })
}

// ForceRekey asks for a new key that also replaces a set of another CA.
func ForceRekey() Fact {
	return Wish(func(w *plan.Wish) { w.Renew, w.Rekey, w.Force, w.Once = true, true, true, true })
}

// Rollover asks for the CA's next generation.
func Rollover() Fact {
	return later(func(h *host) {
		h.World.Wish.Rollover, h.World.Wish.RolloverFrom, h.World.Wish.Once = true,
			pki.Fingerprint(h.Seen.CA.Current.Cert),
			true
	})
}

// CAKey puts the key of that label into the CA directory.
func CAKey(label string) Fact {
	return Seeing(func(o *plan.Observed) { o.CA.KeyInfo.Public = public(label) })
}

// UnknownSignature is a certificate with a signature algorithm that Go does not know.
func UnknownSignature() Fact {
	return Seeing(func(o *plan.Observed) {
		c := *o.Certs.Cert.File.Certs[0]
		c.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
		c.Raw = must(asn1.Marshal(struct{ TBS, Algorithm asn1.RawValue }{asn1.RawValue{FullBytes: c.RawTBSCertificate},
			asn1.RawValue{FullBytes: must(asn1.Marshal(struct {
				OID asn1.ObjectIdentifier
			}{asn1.ObjectIdentifier{1, 2, 3,
				4}}))}}))
		o.Certs.Cert.File.Certs = []*x509.Certificate{&c}
	})
}

// FromLostCA is a certificate of a CA that is not in the CA directory any more; cacert.pem contains that CA.
func FromLostCA() Fact {
	return func(h *host) {
		h.cas["lost"] = rootOf("lost", subjectOf("Home", "the CA before"), h.Now.Add(-800*Day), h.Now.Add(2000*Day))
		h.leaf.issuer = "lost"
		h.cacert = []string{"lost"}
	}
}

// FromOther is a certificate of a CA that this host does not trust.
func FromOther() Fact {
	return func(h *host) {
		h.cas["other"] = rootOf("other", subjectOf("Elsewhere", "CA"), h.Now.Add(-100*Day), h.Now.Add(2000*Day))
		h.leaf.issuer = "other"
	}
}

// OlderUnreadable is a previous generation that cannot be read.
func OlderUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.CA.Older[0].Cert, o.CA.Older[0].Err = nil,
			&fs.PathError{Op: "open", Path: o.CA.Older[0].Dir, Err: syscall.EIO}
	})
}

// CRLWaits is a FIFO with the name of a CRL's hash link.
func CRLWaits() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.CRLWaits = []string{Certs + "/0a1b2c3d.r0"} })
}

// CRLLinkUnreadable is a link to a CRL that cannot be read.
func CRLLinkUnreadable() Fact { return Seeing(func(o *plan.Observed) { o.Certs.CRLErr = syscall.EIO }) }

// TooMany is a bundle with more CAs than mailcertd makes links for.
func TooMany() Fact {
	return later(func(h *host) {
		c := partner("many")
		s := plan.TrustSource{Name: "/etc/ssl/many.pem", Bundle: certdir.Bundle{Path: "/etc/ssl/many.pem",
			Changed: h.Now.Add(-Day)}}
		for i := range 2001 {
			x := *c
			x.Raw = fmt.Appendf(nil, "%s %d", c.Raw, i)
			s.Certs = append(s.Certs, &x)
		}
		h.Seen.Trust = append(h.Seen.Trust, s)
	})
}

// TrustUnreadable is a directory trust/ that cannot be listed.
func TrustUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.TrustNode = directory(Certs+"/trust", 0o755)
		o.Certs.TrustNode.Err = &fs.PathError{Op: "open", Path: Certs + "/trust", Err: syscall.EIO}
		o.Certs.Trust = nil
	})
}

// TrustedByHand is a file in trust/ that a person put there.
func TrustedByHand() Fact {
	return later(func(h *host) {
		t := &h.Seen.Certs.Trust[0]
		t.Node.Path, t.Node.Resolved = Certs+"/trust/mine.pem", Certs+"/trust/mine.pem"
		h.link()
	})
}

// DHChosen is a group that a person has chosen with `mailcertd dhparam`.
func DHChosen(group string) Fact {
	return later(func(h *host) { h.Seen.State.DH = state.DHChoice{Group: group, Config: h.Config.DH} })
}

// CertsAre replaces the certs directory by something else.
func CertsAre(n durable.Node) Fact {
	return Seeing(func(o *plan.Observed) { n.Path = Certs; o.Certs.Node = n })
}

// WeakDH returns parameters of that many bits that are not an RFC 7919 group.
func WeakDH(bits int) string {
	p := rsaKey("weak DH", bits).N
	der := must(asn1.Marshal(struct{ P, G *big.Int }{p, big.NewInt(2)}))
	return string(pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: der}))
}

// DamagedBackup is a backup without a manifest that can be read.
func DamagedBackup(change func(*plan.Leftover)) Fact {
	l := plan.Leftover{Kind: plan.DamagedBackup, Path: StateDir + "/backups/x", ID: "x"}
	if change != nil {
		change(&l)
	}
	return Leftover(l, 0)
}

// BackupOfKey is a backup of our own with a key in it.
func BackupOfKey() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Backups = []durable.Backup{{ID: "x", Files: []durable.Saved{{Name: certdir.KeyName, Secret: true}}}}
	})
}

// NotifyRuns is a command that another mailcertd process has started. Its time limit ends in that time.
func NotifyRuns(left time.Duration) Fact {
	return later(func(h *host) {
		for _, d := range h.Seen.State.Notify {
			d.Running = h.Now.Add(left)
		}
	})
}

// CarriedAgo means that a person installed the certificate with `mailcertd install` so long ago.
func CarriedAgo(d time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Carried = state.Seen{Digest: pki.Fingerprint(h.Seen.Certs.Cert.File.Certs[0]),
			Since: h.Now.Add(-d)}
	})
}

// CACalled sets organization and name of the CA.
func CACalled(organization, cn string) Fact {
	return func(h *host) {
		c := h.cas["ca"]
		h.cas["ca"] = rootOf("ca", subjectOf(organization, cn), c.NotBefore, c.NotAfter)
	}
}
