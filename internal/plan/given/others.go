package given

import (
	"crypto/x509"
	"io/fs"
	"maps"
	"path/filepath"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// WantsSecond configures a second server pair with an RSA key; the host's own key is P-256.
func WantsSecond() Fact {
	return Configured(func(c *config.Config) {
		c.Key.Type, c.Key.TypeSet, c.Key.Second = pki.ECDSAP256, true,
			pki.RSA2048
	})
}

// WantsClient configures a separate pair for sendmail as a client, from the local CA.
func WantsClient() Fact {
	return Configured(func(c *config.Config) {
		c.Client = config.Client{Kind: config.ClientOwn, Issuer: config.Issuer{Kind: config.IssuerLocal}}
	})
}

// WantsNoClient configures that sendmail shows no certificate as a client.
func WantsNoClient() Fact {
	return Configured(func(c *config.Config) { c.Client = config.Client{Kind: config.ClientNone} })
}

// Has installs another pair than the host's own: the key of that label, and the host's leaf with these changes.
func Has(p certdir.Pair, key string, change ...Fact) Fact {
	return later(func(h *host) {
		kept := h.leaf
		h.leaf.key = key
		for _, f := range change {
			f(h)
		}
		c := h.certificate()
		e := h.Seen.Certs.Pair(p)
		e.Key.Node, e.Key.Digest = h.file(p.KeyFile, 0o600, []byte("key "+p.Name+key))
		e.Key.Node.Data = nil
		e.Key.Key = pki.KeyFile{Public: public(key), Type: pki.TypeOf(public(key)), Form: "PKCS#8", Keys: 1}
		e.Cert = h.certs(p.CertFile, pki.ReadLeafFile, c)
		s := &h.Seen.State
		if h.leaf.issuer == h.current {
			issue(&h.Seen.CA, c)
			h.Seen.CA.ServingRows[ca.FormatSerial(c.SerialNumber)] = *h.Seen.CA.Issued[0].Row
			s.Ours[plan.FileID(e.Key.Digest)] = state.Ours{Kind: "key", At: h.Now.Add(-h.age)}
			s.Ours[plan.FileID(e.Cert.Digest)] = state.Ours{Kind: "cert", At: h.Now.Add(-h.age)}
		}
		s.PickedUp.Set = plan.SetID(h.Seen.Certs)
		h.leaf = kept
	})
}

// Lost deletes a file of a pair.
func Lost(name string) Fact {
	return later(func(h *host) {
		n := durable.Node{Path: filepath.Join(Certs, name)}
		f, _ := certdir.FileOf(name)
		switch e := h.Seen.Certs.Pair(f.Pair); f.Kind {
		case certdir.KindKey:
			e.Key = certdir.KeyEntry{Node: n, Key: pki.KeyFile{Err: fs.ErrNotExist}}
		case certdir.KindCert:
			e.Cert = certdir.CertEntry{Node: n, File: pki.CertFile{Err: fs.ErrNotExist}}
		}
		h.Seen.State.PickedUp.Set = plan.SetID(h.Seen.Certs)
	})
}

// Placeholders are in place of the files of a pair.
func Placeholders(p certdir.Pair) Fact {
	return later(func(h *host) {
		for _, name := range []string{p.KeyFile, p.CertFile} {
			n, _ := h.file(name, 0o600, certdir.Placeholder())
			h.Seen.Certs.Put(name, n)
		}
		h.Seen.State.PickedUp.Set = plan.SetID(h.Seen.Certs)
	})
}

// Names lets sendmail.cf name the pair in the options for it.
func Names(p certdir.Pair) Fact {
	return Seeing(func(o *plan.Observed) {
		cert, key := filepath.Join(Certs, p.CertFile), filepath.Join(Certs, p.KeyFile)
		var named mta.Pair
		named.Cert.Path, named.Key.Path = cert, key
		switch p {
		case certdir.HostECDSA:
			o.CF.ServerCert, o.CF.ServerKey = append(o.CF.ServerCert[:1:1], cert), append(o.CF.ServerKey[:1:1], key)
			o.CF.Second = named
		case certdir.Client:
			o.CF.ClientCert, o.CF.ClientKey, o.CF.Client = []string{cert}, []string{key}, named
		}
	})
}

// StagedFor is a staged new key for the pair.
func StagedFor(p certdir.Pair, key string) Fact {
	return Seeing(func(o *plan.Observed) {
		o.Pending.Staged = append(o.Pending.Staged, p.KeyFile)
		staged := maps.Clone(o.Staged)
		if staged == nil {
			staged = map[string]plan.StagedKey{}
		}
		staged[p.Name] = plan.StagedKey{Key: pki.KeyFile{Public: public(key), Type: pki.TypeOf(public(key)), Keys: 1}}
		o.Staged = staged
	})
}

// Ours lets the local CA issue the leaf although the host's own certificate is bought. It is a change for Has.
func Ours() Fact {
	return func(h *host) {
		h.leaf.issuer, h.leaf.usage = h.current,
			[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if h.Seen.State.Ours == nil {
			h.Seen.State.Ours = map[string]state.Ours{}
		}
		if h.Seen.CA.ServingRows == nil {
			h.Seen.CA.ServingRows = map[string]ca.Entry{}
		}
	}
}

// ShowsNothing is a sendmail.cf without ClientCertFile and ClientKeyFile.
func ShowsNothing() Fact {
	return Seeing(func(o *plan.Observed) { o.CF.ClientCert, o.CF.ClientKey = nil, nil })
}
