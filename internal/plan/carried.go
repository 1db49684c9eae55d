package plan

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Carried is what a person brought here in a file, without its secrets.
type Carried struct {
	Key    crypto.PublicKey  // of the key in it; nil: it has none
	Leaf   *x509.Certificate // nil: CA certificates alone
	Middle []*x509.Certificate
	Roots  []*x509.Certificate
}

// Taking is what becomes of it.
type Taking struct {
	Pair   certdir.Pair        // the pair that it becomes; the zero value for CA certificates alone
	Change Change              // of the certs directory; without files: it is what is there
	Accept []*x509.Certificate // of the CA on another host, all that are trusted from now on; nil: nothing new
	Notes  []string            // for the person
}

// Take decides about what a person carried here: the pair, or, with the CA on another host, CA certificates alone,
// which are right then. force overrules what speaks against the certificate itself.
func Take(cfg config.Config, obs Observed, c Carried, force bool, now time.Time) (Taking, error) {
	var t Taking
	remote := cfg.Issuer.Kind == config.IssuerSSH
	if remote && len(c.Roots) > 0 {
		if all := join(c.Roots, obs.Accepted); !slices.EqualFunc(all, obs.Accepted, (*x509.Certificate).Equal) {
			t.Accept = all
		}
	}
	if c.Leaf == nil {
		if !remote {
			return t,
				errors.New("contains no host certificate; to trust a CA, name its file in trust: in mailcertd.yaml")
		}
		return t, nil
	}
	name, _ := HostName(cfg, obs.Host)
	t.Pair = c.becomes(cfg, obs)
	e, staged := obs.Certs.Pair(t.Pair), obs.StagedOf(t.Pair).Key
	wrong, notes := objections(c, obs, name, now, t.Pair == certdir.Host && cfg.Client.Kind == config.ClientSame)
	t.Notes = notes
	if t.Pair != certdir.Host {
		t.Notes = append(t.Notes,
			fmt.Sprintf("the certificate becomes the second pair, %s, because its key is %s and the key in %s is %s",
				t.Pair.CertFile, pki.TypeOf(c.Leaf.PublicKey), certdir.Host.KeyFile,
				pki.TypeOf(obs.Certs.Key.Key.Public)))
	}
	if len(wrong) > 0 && !force {
		return t, fmt.Errorf("%w (to install it anyway, use --force)", errors.Join(wrong...))
	}
	for _, e := range wrong {
		t.Notes = append(t.Notes, e.Error())
	}
	var files []File
	switch pub := c.Leaf.PublicKey; {
	case c.Key != nil && !pki.SamePublicKey(pub, c.Key):
		return t, errors.New("its key and its certificate do not belong together")
	case c.Key != nil && !pki.SamePublicKey(pub, e.Key.Key.Public):
		files = append(files, File{Name: t.Pair.KeyFile, Mode: keyMode, Source: FromCarried})
	case pki.SamePublicKey(pub, e.Key.Key.Public):
	case pki.SamePublicKey(pub, staged.Public):
		files = append(files, File{Name: t.Pair.KeyFile, Mode: keyMode, Source: FromStaging})
	default:
		return t, fmt.Errorf("has no key in it, and does not belong to the key in %s: make a new request on this host",
			obs.Certs.Key.Node.Path)
	}
	text := encodeAll(slices.Concat([]*x509.Certificate{c.Leaf}, c.Middle))
	if have := e.Cert; have.Node.Kind != durable.File || have.Digest != sha256.Sum256(text) {
		files = append(files, File{Name: t.Pair.CertFile, Mode: publicMode, Data: text})
	}
	if f := carriedTrust(obs, c); f != nil {
		files = append(files, *f)
	}
	for i := range files {
		files[i].Reason = Installed
	}
	t.Change = Change{Files: files, Archive: CopiesFor(obs, files), Pickup: true}
	return t, nil
}

// becomes is the server pair that c becomes: the one that has its key, else the one for a key of its kind. Two keys of
// one kind would be refused.
func (c Carried) becomes(cfg config.Config, obs Observed) certdir.Pair {
	if cfg.Key.Second == "" {
		return certdir.Host
	}
	pub := c.Leaf.PublicKey
	for _, p := range []certdir.Pair{certdir.Host, certdir.HostECDSA} {
		if pki.SamePublicKey(pub, obs.Certs.Pair(p).Key.Key.Public) ||
			pki.SamePublicKey(pub, obs.StagedOf(p).Key.Public) {
			return p
		}
	}
	host := obs.Certs.Key.Key.Public
	if c.Key == nil || host == nil || pki.TypeOf(pub).Family() == pki.TypeOf(host).Family() {
		return certdir.Host
	}
	return certdir.HostECDSA
}

// CopiesFor are the copies of everything that these files replace.
func CopiesFor(obs Observed, files []File) (out []Archived) {
	for _, f := range files {
		of, _ := certdir.FileOf(f.Name)
		n, sum := obs.Certs.File(f.Name)
		if n.Kind == durable.Missing || n.Kind == durable.File && n.Size == 0 {
			continue
		}
		_, ours := obs.State.Ours[FileID(sum)]
		out = append(out, Archived{Name: f.Name, Foreign: !ours || n.Kind == durable.Link,
			Secret: of.Kind == certdir.KindKey})
	}
	return out
}

// carriedTrust is where the CA certificates go: in front of those in cacert.pem; into a file of trust/ where cacert.pem
// is a person's link. nil: they are trusted already.
func carriedTrust(obs Observed, c Carried) *File {
	have := obs.Certs.CA
	all := slices.Clone(have.File.Certs)
	for _, t := range obs.Certs.Trust {
		all = append(all, t.File.Certs...)
	}
	want := c.Roots
	if len(want) == 0 && (have.File.Err != nil || len(have.File.Certs) == 0) {
		want = c.Middle // sendmail needs a CACertFile that loads
	}
	if !slices.ContainsFunc(want, func(w *x509.Certificate) bool { return !slices.ContainsFunc(all, w.Equal) }) {
		return nil
	}
	if have.Node.Kind == durable.Link {
		return &File{Name: certdir.TrustDir + "/installed.pem", Mode: publicMode, Data: encodeAll(want)}
	}
	others := slices.DeleteFunc(slices.Clone(have.File.Certs),
		func(c *x509.Certificate) bool { // the interim certificate is no longer needed
			return slices.Contains(c.Subject.Organization, InterimOrganization)
		})
	return &File{Name: certdir.CAName, Mode: publicMode, Data: encodeAll(join(want, others))}
}

// join is first and then the others that are not in it.
func join(first, others []*x509.Certificate) []*x509.Certificate {
	out := slices.Clone(first)
	for _, c := range others {
		if !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}
