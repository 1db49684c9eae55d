package given

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/inbox"
	"mailcertd/internal/issuer"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

func subjectOf(organization, cn string) pkix.Name {
	return pkix.Name{Organization: []string{organization}, CommonName: cn}
}

func digest(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// CALives sets the lifetime of the CA's certificate, counted from now.
func CALives(begins, ends time.Duration) Fact {
	return func(h *host) { h.cas["ca"] = rootOf("ca", subject, h.Now.Add(begins), h.Now.Add(ends)) }
}

// CAMadeByHand is a CA that a person made.
func CAMadeByHand() Fact { return func(h *host) { h.made = false } }

// NoCA is a host whose CA directory is gone.
func NoCA() Fact {
	return later(func(h *host) {
		h.Seen.CA = ca.Observed{Dir: durable.Node{Path: CADir}, KeyInfo: pki.KeyFile{Err: fs.ErrNotExist}}
	})
}

// NeverHadCA is a host that never had a CA, such as one with a bought certificate.
func NeverHadCA() Fact {
	return func(h *host) {
		h.current = ""
		h.since = append(h.since, func(h *host) { h.Seen.State.CA = "" })
	}
}

// CAUnfinished is a CA of which only the key exists, because the first boot was interrupted.
func CAUnfinished() Fact {
	return later(func(h *host) {
		o := ca.Observed{Dir: directory(CADir, 0o700), Status: ca.Unfinished,
			KeyInfo: pki.KeyFile{Public: public("ca"), Type: pki.ECDSAP256}}
		o.Key, _ = h.file("../CA/cakey.pem", 0o600, []byte("CA key"))
		h.Seen.CA = o
	})
}

// CADamaged is a CA whose key does not belong to its certificate.
func CADamaged() Fact {
	return Seeing(func(o *plan.Observed) {
		o.CA.Status = ca.Damaged
		o.CA.KeyInfo.Public = public("other CA")
		o.CA.Faults = append(o.CA.Faults, ca.Fault{Kind: ca.FaultPair, Path: CADir + "/cakey.pem"})
	})
}

// CAUnreadable is a CA directory that the system refuses to read.
func CAUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.CA = ca.Observed{Dir: o.CA.Dir, KeyInfo: pki.KeyFile{Err: fs.ErrNotExist},
			Err: &fs.PathError{Op: "open", Path: CADir, Err: syscall.EACCES}}
	})
}

// CAOf is a CA directory, or with key its key alone, that belongs to another user than root.
func CAOf(uid uint32, key bool) Fact {
	return Seeing(func(o *plan.Observed) {
		if key {
			o.CA.Key.UID = uid
			return
		}
		o.CA.Dir.UID, o.CA.Key.UID = uid, uid
	})
}

// CAFault is a fault of the CA's database.
func CAFault(kind ca.FaultKind, repairable bool) Fact {
	return later(func(h *host) {
		h.Seen.CA.Faults = append(h.Seen.CA.Faults, ca.Fault{Kind: kind, Path: CADir + "/index.txt",
			Repairable: repairable,
			Since:      h.Now.Add(-time.Hour)})
	})
}

// CALeftover is a temporary file of that age in the CA directory.
func CALeftover(age time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.CA.Faults = append(h.Seen.CA.Faults, ca.Fault{Kind: ca.FaultLeftover, Path: CADir + "/index.txt.tmp",
			Repairable: true, Since: h.Now.Add(-age)})
	})
}

// Locked is a CA whose key has a passphrase.
func Locked() Fact {
	return Seeing(func(o *plan.Observed) {
		o.CA.KeyInfo = pki.KeyFile{Encrypted: true, Err: pki.ErrEncrypted}
		o.CA.Current.Locked = true
	})
}

// Passphrase is a ca.passphrase_file that opens the CA's key.
func Passphrase() Fact {
	return Seeing(func(o *plan.Observed) { o.Passphrase = plan.Passphrase{Path: "/root/ca.pass", Ready: true} })
}

// PassphraseProblem is a ca.passphrase_file that cannot be used.
func PassphraseProblem(text string) Fact {
	return Seeing(func(o *plan.Observed) { o.Passphrase = plan.Passphrase{Path: "/root/ca.pass", Problem: text} })
}

// WeakCA is a CA with an RSA key of 1024 bits.
func WeakCA() Fact {
	return Seeing(func(o *plan.Observed) {
		c := *o.CA.Current.Cert
		c.PublicKey = public("rsa-1024")
		o.CA.Current.Cert = &c
	})
}

// Older is a previous generation of the CA that is valid for that long; it issued the installed certificate.
func Older(left time.Duration) Fact {
	return func(h *host) {
		h.older = []string{"older"}
		h.cas["older"] = rootOf("older", subject, h.Now.Add(left-3650*Day), h.Now.Add(left))
		h.leaf.issuer = "older"
	}
}

// OlderOver is a previous generation whose last certificate has expired.
func OlderOver() Fact {
	return func(h *host) {
		h.older = []string{"older"}
		h.cas["older"] = rootOf("older", subject, h.Now.Add(-3650*Day), h.Now.Add(50*Day))
		h.since = append(h.since, func(h *host) { h.Seen.CA.Older[0].LastLeaf = h.Now.Add(-Day) })
	}
}

// Next is a generation of the CA that does not issue yet; trusted: it is in cacert.pem.
func Next(trusted bool) Fact {
	return func(h *host) {
		h.next = "next"
		h.cas["next"] = rootOf("next", subject, h.Now.Add(-Day), h.Now.Add(3649*Day))
		if !trusted {
			h.cacert = []string{"ca"}
		}
	}
}

// NextBeginsIn is such a generation whose certificate is not valid yet.
func NextBeginsIn(d time.Duration) Fact {
	return func(h *host) {
		h.next = "next"
		h.cas["next"] = rootOf("next", subject, h.Now.Add(d), h.Now.Add(d+3650*Day))
	}
}

// Member is a member that last asked so long ago; trusts: it trusts the next generation.
func Member(name string, heard time.Duration, trusts bool) Fact {
	return later(func(h *host) {
		m := ca.Member{Name: name, Enrolled: h.Now.Add(-90 * Day), Seen: h.Now.Add(-heard)}
		if c := h.cas[h.next]; c != nil && trusts {
			m.Trusts = []string{pki.Fingerprint(c)}
		}
		h.Seen.CA.Members = append(h.Seen.CA.Members, m)
		h.Seen.Inbox.Exists = true
	})
}

// MembersUnknown is a list of members that cannot be read.
func MembersUnknown() Fact { return Seeing(func(o *plan.Observed) { o.CA.Unlisted = true }) }

// Inbox changes the observation of the inbox.
func Inbox(change func(*inbox.Box)) Fact { return Seeing(func(o *plan.Observed) { change(&o.Inbox) }) }

// Pending puts so many requests into the inbox.
func Pending(n int) Fact {
	return Inbox(func(b *inbox.Box) {
		b.Exists = true
		for range n {
			b.Pending = append(b.Pending, inbox.Submission{ID: "1", Name: "dhcp.home.example"})
		}
	})
}

// NoAccount is a host without the user that members log in as.
func NoAccount() Fact { return Seeing(func(o *plan.Observed) { o.Account.Missing = true }) }

// InstallCRL configures `crl: {install: true}`.
func InstallCRL() Fact { return Configured(func(c *config.Config) { c.CRL.Install = true }) }

// CRL is a CRL of the CA that was made so long ago and is valid for so long.
func CRL(age, left time.Duration) Fact {
	return later(func(h *host) {
		h.crl = list(h.cas["ca"], "ca", h.Now.Add(-age), h.Now.Add(left))
		if h.Config.Issuer.Kind == config.IssuerSSH {
			h.Seen.Reply.CRLs = [][]byte{h.crl.Raw}
			return
		}
		h.Seen.CA.CRL.Lists = []ca.RevocationList{{Path: CADir + "/crl.pem", List: h.crl, Raw: h.crl.Raw}}
	})
}

// CRLBehind is a revoked certificate that no CRL lists yet.
func CRLBehind() Fact { return Seeing(func(o *plan.Observed) { o.CA.CRL.Behind = true }) }

// CRLUnreadable is a CRL in the CA directory that cannot be read.
func CRLUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.CA.CRL.Lists = []ca.RevocationList{{Path: CADir + "/crl.pem",
			Err: &fs.PathError{Op: "open", Path: CADir + "/crl.pem", Err: syscall.EIO}}}
	})
}

// CRLInstalled puts the present CRL into the certs directory and its name into sendmail.cf.
func CRLInstalled() Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		d.CRL.Node, d.CRL.Digest = h.file(certdir.CRLName, 0o644, pemList(h.crl))
		h.Seen.State.Ours[plan.FileID(d.CRL.Digest)] = state.Ours{Kind: "crl", At: h.Now.Add(-Day)}
		if h.Seen.State.PickedUp.Set != "" {
			h.Seen.State.PickedUp.Set = plan.SetID(*d)
		}
		d.CRLLinks = map[string]string{}
		for _, l := range certdir.CRLLinks(nil, d.CA.File.Certs) {
			d.CRLLinks[l.Name] = l.Target
		}
		h.Seen.CF = cf(Certs, "O CRLFile="+Certs+"/crl.pem")
	})
}

// RevokedAtCA puts the installed certificate on the CRL of the CA host, with that reason code of RFC 5280.
func RevokedAtCA(code int) Fact {
	return later(func(h *host) {
		l := list(h.cas["ca"], "ca", h.Now.Add(-time.Hour), h.Now.Add(29*Day), x509.RevocationListEntry{
			SerialNumber: h.Seen.Certs.Cert.File.Certs[0].SerialNumber, RevocationTime: h.Now.Add(-2 * time.Hour),
			ReasonCode: code})
		h.Seen.Reply.CRLs = [][]byte{l.Raw}
	})
}

// MemberOf is a member of the CA host target, which it asked two hours ago.
func MemberOf(target string) Fact {
	return func(h *host) {
		h.Config.Issuer.Kind, h.Config.Issuer.SSH.Target = config.IssuerSSH, target
		h.current = ""
		h.cacert = []string{"ca"}
		h.since = append([]func(*host){func(h *host) {
			h.Seen.Accepted = []*x509.Certificate{h.cas["ca"]}
			h.Seen.Reply = issuer.Reply{Status: "trust", CAs: []*x509.Certificate{h.cas["ca"]}}
			h.Seen.State.Member = state.Member{Asked: h.Now.Add(-2 * time.Hour),
				Told: plan.TrustID([]string{pki.Fingerprint(h.cas["ca"])})}
			h.Seen.State.CA = ""
		}}, h.since...)
	}
}

// ClientOf is a host whose client pair comes from the CA host target, which it asked two hours ago. Another issuer
// issues the server's pair.
func ClientOf(target string) Fact {
	return func(h *host) {
		h.Config.Client.Kind = config.ClientOwn
		h.Config.Client.Issuer.Kind, h.Config.Client.Issuer.SSH.Target = config.IssuerSSH, target
		h.cacert = append(h.cacert, "ca")
		h.since = append(h.since, func(h *host) {
			h.Seen.Accepted = []*x509.Certificate{h.cas["ca"]}
			h.Seen.Reply = issuer.Reply{Status: "trust", CAs: []*x509.Certificate{h.cas["ca"]}}
			h.Seen.State.Member = state.Member{Asked: h.Now.Add(-2 * time.Hour),
				Told: plan.TrustID([]string{pki.Fingerprint(h.cas["ca"])})}
		})
	}
}

// NeverAsked is a member that has never asked its CA host.
func NeverAsked() Fact {
	return Seeing(func(o *plan.Observed) { o.Accepted, o.Reply, o.State.Member = nil, issuer.Reply{}, state.Member{} })
}

// AskedAgo sets how long ago the CA host last answered.
func AskedAgo(d time.Duration) Fact {
	return later(func(h *host) { h.Seen.State.Member.Asked = h.Now.Add(-d) })
}

// Shows lets the CA host send another generation too. vouched says that the trusted generation has signed it.
func Shows(vouched bool) Fact {
	return later(func(h *host) {
		next := rootOf("next", subject, h.Now.Add(-Day), h.Now.Add(3649*Day))
		h.Seen.Reply.CAs = append(h.Seen.Reply.CAs, next)
		if vouched {
			h.Seen.Reply.Cross = []*x509.Certificate{cross(next, h.cas["ca"], "ca")}
		}
	})
}

// AcceptedUnreadable is a member that cannot read its list of accepted CAs.
func AcceptedUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Accepted, o.AcceptedErr = nil, &fs.PathError{Op: "open", Path: filepath.Join(StateDir, "candidates"),
			Err: syscall.EIO}
	})
}

// ReplyUnreadable is a member that cannot read the last answer of its CA host.
func ReplyUnreadable() Fact {
	return Seeing(func(o *plan.Observed) { o.Reply, o.ReplyErr = issuer.Reply{}, issuer.ErrMessage })
}

// RequestOut is a request for the staged key that another process is making now. Its time limit ends in that time.
func RequestOut(left time.Duration) Fact {
	out := RequestCut(left)
	return func(h *host) { out(h); Seeing(func(o *plan.Observed) { o.Asking = true })(h) }
}

// RequestCut is such a request, and the process has been killed.
func RequestCut(left time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Member.Key, h.Seen.State.Member.At = pki.KeyFingerprint(public("staged")), h.Now.Add(left)
	})
}

func pemList(l *x509.RevocationList) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.Raw})
}
