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

// EmptyDisk is a host without a set, without a CA and with an empty state.
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

// ExpiresIn is a certificate of a year that expires then.
func ExpiresIn(d time.Duration) Fact { return LivesFor(365*Day, d) }

// LivesFor is a certificate of that lifetime that expires then.
func LivesFor(life, left time.Duration) Fact {
	return func(h *host) { h.leaf.ends, h.leaf.begins = h.Now.Add(left), h.Now.Add(left-life) }
}

// BeginsIn is a certificate that is not valid yet.
func BeginsIn(d time.Duration) Fact {
	return func(h *host) { h.leaf.begins, h.leaf.ends = h.Now.Add(d), h.Now.Add(d+365*Day) }
}

// Key sets the host's key by its label: "rsa-1024" and "rsa-2048" are RSA, all others P-256.
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

// WithoutSAN is a certificate without a SAN, as people make them by hand.
func WithoutSAN() Fact { return func(h *host) { h.leaf.noSAN = true } }

// Usage sets the extendedKeyUsage of the certificate; without any, the certificate may be used for everything.
func Usage(u ...x509.ExtKeyUsage) Fact { return func(h *host) { h.leaf.usage = u } }

// SHA1 is a certificate that is signed with SHA-1.
func SHA1() Fact { return func(h *host) { h.leaf.sha1 = true } }

// Bought is a certificate of another CA, which only cacert.pem contains.
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

// Behind adds the certificate of the issuer to host.cert, after the leaf.
func Behind() Fact {
	return func(h *host) { h.leaf.behind = append(h.leaf.behind, h.cas[h.leaf.issuer]) }
}

// BrokenBehind is a host.cert in which the part after the first certificate is truncated.
func BrokenBehind() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Cert.File.Behind = pki.ErrTruncated })
}

// ByteOrderMark is a host.cert that an editor has saved with a byte order mark.
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

// Interim is the self-signed interim certificate of mailcertd.
func Interim() Fact {
	return func(h *host) {
		h.leaf.issuer, h.leaf.interim = "", true
		h.cas["interim"] = h.leaf.certificate(nil)
		h.cacert = []string{"interim"}
	}
}

// NoCert deletes host.cert.
func NoCert() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.Cert.Node, &h.Seen.Certs.Cert.File.Err) })
}

// NoKey deletes host.key.
func NoKey() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.Key.Node, &h.Seen.Certs.Key.Key.Err) })
}

// gone deletes a file.
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
		for i := range d.Links { // all of them are links to cacert.pem
			l := &d.Links[i]
			l.Node.Exists, l.Node.IsRegular, l.Loads, l.Right, l.Certs = false, false, false, false, nil
		}
	case &d.DH.Node:
		d.DH = certdir.DHEntry{Node: *n}
	}
}

// BadCert is a host.cert that OpenSSL cannot load.
func BadCert(err error) Fact { return later(func(h *host) { h.badCert(err) }) }

func (h *host) badCert(err error) {
	e := &h.Seen.Certs.Cert
	e.File, e.Digest = pki.CertFile{Err: err}, digest(err.Error())
	if errors.Is(err, pki.ErrEmpty) {
		e.Node.Size = 0
	}
}

// KeyInside is a host.cert, with this mode, in which the private key is too.
func KeyInside(mode fs.FileMode) Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.Cert.HasKey, o.Certs.Cert.Node.Mode = true, mode })
}

// BadKey is a host.key that OpenSSL cannot load.
func BadKey(err error) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.Key
		e.Key, e.Digest = pki.KeyFile{Err: err, Encrypted: errors.Is(err, pki.ErrEncrypted)}, digest(err.Error())
		if errors.Is(err, pki.ErrEmpty) {
			e.Node.Size = 0
		}
	})
}

// OtherKey is another key that a person has put into host.key.
func OtherKey(label string) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.Key
		e.Key.Public, e.Key.Type, e.Digest = public(label), pki.TypeOf(public(label)), digest("key "+label)
	})
}

// WrittenAgo sets how long ago these files were written.
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

// Unreadable is an I/O error of the system for one of the files.
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

// InTheWay replaces a file by a directory, or the directory trust/ by a file.
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

// Mode sets the mode of a file or directory.
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

// OwnedBy sets the owner of host.key.
func OwnedBy(uid uint32) Fact {
	return later(func(h *host) { h.Seen.Certs.Key.Node.UID = uid })
}

// Staged is a staged new key for host.key.
func Staged() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Staged = map[string]plan.StagedKey{certdir.Host.Name: {Key: pki.KeyFile{Public: public("staged"),
			Type: pki.RSA2048, Form: "PKCS#8", Keys: 1}}}
		o.Pending.Staged = []string{certdir.KeyName}
	})
}

// StagedUnreadable is a staged key that cannot be read.
func StagedUnreadable() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Staged = map[string]plan.StagedKey{certdir.Host.Name: {Err: &fs.PathError{Op: "open", Path: "host.key",
			Err: syscall.EIO}}}
		o.Pending.Staged = []string{certdir.KeyName}
	})
}

// Issued is another certificate that is not installed yet, in newcerts or in the answer of the CA host. It is for the
// key of that label and was issued so long ago.
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

// Revoked is the revocation of the installed certificate by the local CA, with that reason of ca.Reasons.
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

// Restored is a certificate that a person has restored from a backup.
func Restored() Fact {
	return later(func(h *host) { h.Seen.State.Hold = pki.Fingerprint(h.Seen.Certs.Cert.File.Certs[0]) })
}

// RestoredBefore is a restored certificate that another one has replaced since.
func RestoredBefore() Fact { return Remembers(func(s *state.State) { s.Hold = "a restored one" }) }

// UnknownKind is a certificate for a key of a kind that Go cannot read.
func UnknownKind() Fact {
	return Seeing(func(o *plan.Observed) {
		c := *o.Certs.Cert.File.Certs[0]
		c.PublicKey, c.PublicKeyAlgorithm = nil, x509.UnknownPublicKeyAlgorithm
		o.Certs.Cert.File.Certs = []*x509.Certificate{&c}
		o.Certs.Key.Key = pki.KeyFile{Err: pki.ErrUnsupported}
	})
}
