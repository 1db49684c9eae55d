package given

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// EmptyDisk is a host on which nothing was ever done: no set, no CA, nothing remembered.
func EmptyDisk() Fact {
	return func(h *host) {
		h.noPair, h.current = true, ""
		h.since = append(h.since, func(h *host) { h.Seen.State = state.State{} })
	}
}

// NoCertsDirectory is a host without /etc/mail/certs.
func NoCertsDirectory() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Node = durable.Node{Path: Certs} })
}

// ExpiresIn lets the certificate end then, after a life of a year.
func ExpiresIn(d time.Duration) Fact { return LivesFor(365*Day, d) }

// LivesFor is a certificate of that life which ends then.
func LivesFor(life, left time.Duration) Fact {
	return func(h *host) { h.leaf.ends, h.leaf.begins = h.Now.Add(left), h.Now.Add(left-life) }
}

// BeginsIn is a certificate that is not valid yet.
func BeginsIn(d time.Duration) Fact {
	return func(h *host) { h.leaf.begins, h.leaf.ends = h.Now.Add(d), h.Now.Add(d+365*Day) }
}

// Key is the host's key, by its label: "rsa-1024" and "rsa-2048" are RSA, all others P-256.
func Key(label string) Fact { return func(h *host) { h.leaf.key = label } }

// KeyHasCerts is a host.key with certificates in it.
func KeyHasCerts(n int) Fact { return func(h *host) { h.keyCerts = n } }

// KeyIsOld is a key that was made so long ago.
func KeyIsOld(d time.Duration) Fact {
	return later(func(h *host) {
		h.Seen.State.Ours[plan.FileID(h.Seen.Certs.Key.Digest)] = state.Ours{Kind: "key", At: h.Now.Add(-d)}
	})
}

// IsFor is a certificate for these names.
func IsFor(names ...string) Fact { return func(h *host) { h.leaf.names = names } }

// WithoutSAN is a certificate as people make them by hand.
func WithoutSAN() Fact { return func(h *host) { h.leaf.noSAN = true } }

// Usage is what the certificate is for; none: everything.
func Usage(u ...x509.ExtKeyUsage) Fact { return func(h *host) { h.leaf.usage = u } }

// SHA1 is a certificate that is signed with SHA-1.
func SHA1() Fact { return func(h *host) { h.leaf.sha1 = true } }

// Bought is a certificate of a CA of which this host knows nothing but what is in cacert.pem.
func Bought() Fact {
	return func(h *host) {
		if h.cas["bought"] == nil {
			h.cas["bought"] = rootOf("bought", subjectOf("Example Trust Services", "Example Server CA 3"),
				h.Now.Add(-900*Day),
				h.Now.Add(2000*Day))
		}
		h.leaf.issuer, h.cacert = "bought", []string{"bought"}
	}
}

// Behind is what follows the certificate in host.cert: the CA that issued it.
func Behind() Fact {
	return func(h *host) { h.leaf.behind = append(h.leaf.behind, h.cas[h.leaf.issuer]) }
}

// BrokenBehind is a host.cert of which all behind the first certificate is cut off.
func BrokenBehind() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Cert.File.Behind = pki.ErrTruncated })
}

// ByteOrderMark is a host.cert that some editor saved.
func ByteOrderMark() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Cert.File.Marked = true })
}

// Stanza is a set that the base system's rc.d/sendmail has made.
func Stanza() Fact {
	return func(h *host) {
		name := subjectOf("Some-org", "amnesiac.home.example")
		h.cas["stanza"] = rootOf("stanza", name, h.Now.Add(-10*Day), h.Now.Add(355*Day))
		h.leaf.issuer, h.leaf.comment, h.leaf.noSAN, h.cacert = "stanza", true, true, []string{"stanza"}
	}
}

// Interim is mailcertd's own interim, self-signed certificate.
func Interim() Fact {
	return func(h *host) {
		h.leaf.issuer, h.leaf.interim = "", true
		h.cas["interim"] = h.leaf.certificate(nil)
		h.cacert = []string{"interim"}
	}
}

// NoCert has host.cert deleted.
func NoCert() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.Cert.Node, &h.Seen.Certs.Cert.File.Err) })
}

// NoKey has host.key deleted.
func NoKey() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.Key.Node, &h.Seen.Certs.Key.Key.Err) })
}

// gone takes a file away.
func (h *host) gone(n *durable.Node, err *error) {
	d := &h.Seen.Certs
	*n = durable.Node{Path: n.Path}
	*err = fs.ErrNotExist
	switch n {
	case &d.Cert.Node:
		d.Cert = certdir.CertEntry{Node: *n, File: pki.CertFile{Err: *err}}
	case &d.Key.Node:
		d.Key = certdir.KeyEntry{Node: *n, Key: pki.KeyFile{Err: *err}}
	case &d.CA.Node:
		d.CA = certdir.CertEntry{Node: *n, File: pki.CertFile{Err: *err}}
		for i := range d.Links { // all lead to it
			l := &d.Links[i]
			l.Node.Exists, l.Node.IsRegular, l.Loads, l.Right, l.Certs = false, false, false, false, nil
		}
	case &d.DH.Node:
		d.DH = certdir.DHEntry{Node: *n}
	}
}

// BadCert is a host.cert of which OpenSSL can make nothing.
func BadCert(err error) Fact { return later(func(h *host) { h.badCert(err) }) }

func (h *host) badCert(err error) {
	e := &h.Seen.Certs.Cert
	e.File, e.Digest = pki.CertFile{Err: err}, digest(err.Error())
	if errors.Is(err, pki.ErrEmpty) {
		e.Node.Size = 0
	}
}

// BadKey is a host.key of which OpenSSL can make nothing.
func BadKey(err error) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.Key
		e.Key, e.Digest = pki.KeyFile{Err: err, Encrypted: errors.Is(err, pki.ErrEncrypted)}, digest(err.Error())
		if errors.Is(err, pki.ErrEmpty) {
			e.Node.Size = 0
		}
	})
}

// OtherKey has another key put into host.key, by somebody.
func OtherKey(label string) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.Key
		e.Key.Public, e.Key.Type, e.Digest = public(label), pki.TypeOf(public(label)), digest("key "+label)
	})
}

// WrittenAgo has these files written so long ago.
func WrittenAgo(d time.Duration, names ...string) Fact {
	return later(func(h *host) {
		for _, n := range []*durable.Node{&h.Seen.Certs.Key.Node, &h.Seen.Certs.Cert.Node, &h.Seen.Certs.CA.Node,
			&h.Seen.Certs.DH.Node} {
			if slices.Contains(names, n.Path[len(Certs)+1:]) {
				n.Changed, n.Modified = h.Now.Add(-d), h.Now.Add(-d)
			}
		}
	})
}

// Unreadable has the system refuse to read one of the files.
func Unreadable(name string) Fact {
	return later(func(h *host) {
		d, err := &h.Seen.Certs, &fs.PathError{Op: "open", Path: Certs + "/" + name, Err: syscall.EIO}
		bad := func(n *durable.Node) { *n = durable.Node{Path: n.Path, Kind: durable.Unknown, Err: err} }
		switch name {
		case certdir.KeyName:
			bad(&d.Key.Node)
			d.Key.Key, d.Key.Digest = pki.KeyFile{Err: err}, [32]byte{}
		case certdir.CertName:
			bad(&d.Cert.Node)
			d.Cert.File, d.Cert.Digest = pki.CertFile{Err: err}, [32]byte{}
		case certdir.CAName:
			bad(&d.CA.Node)
			d.CA.File, d.CA.Digest = pki.CertFile{Err: err}, [32]byte{}
		case certdir.DHName:
			bad(&d.DH.Node)
		case certdir.CRLName:
			bad(&d.CRL.Node)
		case "":
			d.Err = err
		}
	})
}

// InTheWay has a directory where one of the files belongs.
func InTheWay(name string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		dir := directory(Certs+"/"+name, 0o755)
		switch name {
		case certdir.KeyName:
			d.Key = certdir.KeyEntry{Node: dir, Key: pki.KeyFile{Err: fs.ErrNotExist}}
		case certdir.CertName:
			d.Cert = certdir.CertEntry{Node: dir, File: pki.CertFile{Err: fs.ErrNotExist}}
		case certdir.CAName:
			d.CA = certdir.CertEntry{Node: dir, File: pki.CertFile{Err: fs.ErrNotExist}}
		case certdir.DHName:
			d.DH = certdir.DHEntry{Node: dir}
		case certdir.TrustDir:
			d.TrustNode = durable.Node{Path: dir.Path, Kind: durable.File, Resolved: dir.Path, Exists: true,
				IsRegular: true}
		}
	})
}

// Mode is the mode of one of the files.
func Mode(name string, mode fs.FileMode) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		for _, n := range []*durable.Node{&d.Node, &d.Key.Node, &d.Cert.Node, &d.CA.Node, &d.DH.Node, &d.Parents[0]} {
			if n.Path == Certs+"/"+name || n.Path == name {
				n.Mode = mode
			}
		}
	})
}

// OwnedBy is the owner of host.key.
func OwnedBy(uid uint32) Fact {
	return later(func(h *host) { h.Seen.Certs.Key.Node.UID = uid })
}

// Staged is a new key that lies ready.
func Staged() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Staged = pki.KeyFile{Public: public("staged"), Type: pki.RSA2048, Form: "PKCS#8", Keys: 1}
		o.Pending.Staged = []string{certdir.KeyName}
	})
}

// StagedUnreadable is one that cannot be read.
func StagedUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.StagedErr = &fs.PathError{Op: "open", Path: "host.key", Err: syscall.EIO}
		o.Pending.Staged = []string{certdir.KeyName}
	})
}

// Issued has another certificate come into newcerts, or from the CA on another host: for the key of that label, so old.
func Issued(key string, age time.Duration, change ...Fact) Fact {
	return later(func(h *host) {
		kept, ll := h.leaf, h.leaf
		h.leaf = leaf{key: key, names: ll.names, begins: h.Now.Add(-age), ends: h.Now.Add(365*Day - age),
			issuer: h.current,
			usage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		if h.current == "" {
			h.leaf.issuer = ll.issuer
		}
		for _, f := range change {
			f(h)
		}
		c := h.certificate()
		h.leaf = kept
		if h.Config.Issuer.Kind == config.IssuerSSH {
			h.Seen.Reply.Status, h.Seen.Reply.Leaf = "signed", c
			return
		}
		issue(&h.Seen.CA, c)
	})
}

// Revoked has the CA revoke the certificate that is installed, for that reason of ca.Reasons.
func Revoked(reason string) Fact {
	return later(func(h *host) {
		serial := ca.FormatSerial(h.Seen.Certs.Cert.File.Certs[0].SerialNumber)
		row := h.Seen.CA.ServingRows[serial]
		row.Status, row.Revoked, row.Reason = ca.Revoked, h.Now.Add(-time.Hour), reason
		h.Seen.CA.ServingRows = map[string]ca.Entry{serial: row}
		h.Seen.CA.Issued = slices.DeleteFunc(h.Seen.CA.Issued,
			func(i ca.Issued) bool { return i.Serial.Cmp(row.Serial) == 0 })
		h.Seen.CA.CRL.Behind = true
	})
}

// Restored is a certificate that a person has put back.
func Restored() Fact {
	return later(func(h *host) { h.Seen.State.Hold = pki.Fingerprint(h.Seen.Certs.Cert.File.Certs[0]) })
}

// UnknownKind is a certificate over a key of a kind that Go cannot read.
func UnknownKind() Fact {
	return Seeing(func(o *plan.Observed) {
		c := *o.Certs.Cert.File.Certs[0]
		c.PublicKey, c.PublicKeyAlgorithm = nil, x509.UnknownPublicKeyAlgorithm
		o.Certs.Cert.File.Certs = []*x509.Certificate{&c}
		o.Certs.Key.Key = pki.KeyFile{Err: pki.ErrUnsupported}
	})
}
