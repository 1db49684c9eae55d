package plan

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Carried is the content of a file that a person brought to this host, without its secrets.
type Carried struct {
	Key    crypto.PublicKey  // public half of the key in the file; nil: the file has no key
	Leaf   *x509.Certificate // nil: the file has CA certificates alone
	Middle []*x509.Certificate
	Roots  []*x509.Certificate
}

// Taking is the decision about a Carried.
type Taking struct {
	Pair   certdir.Pair        // the pair to install; the zero value for CA certificates alone
	Change Change              // what changes in the certs directory; without files: all of it is installed already
	Accept []*x509.Certificate // the certificates of the CA on another host to trust from now on; nil: no change
	Notes  []string            // for the person
}

// Take decides how a carried file is installed: as a pair or, where the CA is on another host, as CA certificates
// alone. wish is the pair that a person has named; the zero value lets Take find it. force overrules objections to the
// certificate itself. The error says why the file is not installed.
func Take(cfg config.Config, obs Observed, c Carried, wish certdir.Pair, force bool, now time.Time) (Taking, error) {
	var t Taking
	named := wish != (certdir.Pair{})
	if named {
		if err := c.mayBecome(cfg, obs, wish); err != nil {
			return t, err
		}
	}
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
	if t.Pair = wish; !named {
		t.Pair = c.becomes(cfg, obs)
	}
	e, staged := obs.Certs.Pair(t.Pair), obs.Staged[t.Pair.Name].Key
	wrong, notes := objections(c, obs, name, now, t.Pair, cfg.Client.Kind == config.ClientSame)
	t.Notes = notes
	if err := TLSAObjection(cfg, obs, c.Leaf.PublicKey, t.Pair, now); err != nil {
		wrong = append(wrong, err)
	}
	switch {
	case named:
	case t.Pair == certdir.Client:
		t.Notes = append(t.Notes, "the certificate becomes that of the client pair, "+t.Pair.CertFile)
	case t.Pair == certdir.HostECDSA:
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
		var keys []string
		request := "mailcertd request"
		for _, p := range Wanted(cfg) {
			if !named || p == wish {
				keys = append(keys, obs.Certs.Path+"/"+p.KeyFile)
			}
		}
		if named && wish != certdir.Host {
			request += " --pair " + wish.Name
		}
		return t, fmt.Errorf("contains no key, and its certificate does not belong to the key in %s: make a new "+
			"request on this host with `%s`", strings.Join(keys, " or "), request)
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
	t.Change = Change{Files: files, Copies: CopiesFor(obs, files), Pickup: true}
	return t, nil
}

// becomes returns the pair for c: the one that has its key. A key that is in the file and in no pair becomes the
// client's where its certificate is for clients alone, else that of the server pair of its type: OpenSSL serves one
// certificate of each type, so two keys of one type must not be installed.
func (c Carried) becomes(cfg config.Config, obs Observed) certdir.Pair {
	pub := c.Leaf.PublicKey
	wanted := Wanted(cfg)
	if p, found := c.belongsTo(cfg, obs); found {
		return p
	}
	if server, _ := purposes(c.Leaf); !server && c.Key != nil && slices.Contains(wanted, certdir.Client) {
		return certdir.Client
	}
	host := obs.Certs.Key.Key.Public
	if cfg.Key.Second == "" || c.Key == nil || host == nil || pki.TypeOf(pub).Family() == pki.TypeOf(host).Family() {
		return certdir.Host
	}
	return certdir.HostECDSA
}

// belongsTo returns the pair whose key, installed or staged, is that of the certificate.
func (c Carried) belongsTo(cfg config.Config, obs Observed) (certdir.Pair, bool) {
	for _, p := range Wanted(cfg) {
		if pki.SamePublicKey(c.Leaf.PublicKey, obs.Certs.Pair(p).Key.Key.Public) ||
			pki.SamePublicKey(c.Leaf.PublicKey, obs.Staged[p.Name].Key.Public) {
			return p, true
		}
	}
	return certdir.Pair{}, false
}

// mayBecome says why c cannot become the pair that a person has named; nil: it can.
func (c Carried) mayBecome(cfg config.Config, obs Observed, wish certdir.Pair) error {
	if err := Requestable(cfg, wish); err != nil {
		return err
	}
	if c.Leaf == nil {
		return errors.New("contains no host certificate, so it belongs to no pair: leave out --pair")
	}
	if p, found := c.belongsTo(cfg, obs); found && p != wish {
		return fmt.Errorf("its key is that of the %s pair: leave out --pair, or bring a certificate with another key",
			p.Name)
	}
	beside := map[certdir.Pair]certdir.Pair{certdir.Host: certdir.HostECDSA, certdir.HostECDSA: certdir.Host}[wish]
	if !slices.Contains(Wanted(cfg), beside) {
		return nil
	}
	is, other := pki.TypeOf(c.Leaf.PublicKey), obs.Certs.Pair(beside).Key.Key.Public
	if other != nil && is.Family() == pki.TypeOf(other).Family() {
		return fmt.Errorf("its key is %s, and the key in %s is %s: sendmail serves one certificate of each kind, so "+
			"bring one of the other kind", is, beside.KeyFile, pki.TypeOf(other))
	}
	return nil
}

// Requestable says why a pair can be neither requested nor installed by name; nil: it can.
func Requestable(cfg config.Config, p certdir.Pair) error {
	if slices.Contains(Wanted(cfg), p) {
		return nil
	}
	setting := "key.second"
	if p == certdir.Client {
		setting = "client"
	}
	return fmt.Errorf("%s asks for no %s pair: set %s first", cfg.Path, p.Name, setting)
}

// RequestedKey is the type of a new key over which a certificate for a pair is requested: that of the configuration,
// but of another kind than the key of the other server pair.
func RequestedKey(cfg config.Config, obs Observed, p certdir.Pair) pki.KeyType {
	t, other := cfg.Key.Type, certdir.HostECDSA
	switch p {
	case certdir.Client:
		return t
	case certdir.HostECDSA:
		t, other = cfg.Key.Second, certdir.Host
	}
	beside := obs.Certs.Pair(other).Key.Key.Public
	if cfg.Key.Second == "" || beside == nil {
		return t
	}
	for _, u := range []pki.KeyType{cfg.Key.Type, cfg.Key.Second, pki.RSA2048, pki.ECDSAP256} {
		if t.Family() == pki.TypeOf(beside).Family() {
			t = u
		}
	}
	return t
}

// CopiesFor lists the backups to make of what these files replace.
func CopiesFor(obs Observed, files []File) (out []Copied) {
	for _, f := range files {
		of, _ := certdir.FileOf(f.Name)
		n, sum := obs.Certs.File(f.Name)
		if n.Kind == durable.Missing || n.Kind == durable.File && n.Size == 0 {
			continue
		}
		_, ours := obs.State.Ours[FileID(sum)]
		out = append(out, Copied{Name: f.Name, Foreign: !ours || n.Kind == durable.Link,
			Secret: of.Kind == certdir.KindKey})
	}
	return out
}

// carriedTrust adds the carried CA certificates in front of those in cacert.pem, or in a file of trust/ where
// cacert.pem is a person's link. nil: all of them are trusted already.
func carriedTrust(obs Observed, c Carried) *File {
	have := obs.Certs.CA
	all := slices.Clone(have.File.Certs)
	for _, t := range obs.Certs.Trust {
		all = append(all, t.File.Certs...)
	}
	want := c.Roots
	if len(want) == 0 && (have.File.Err != nil || len(have.File.Certs) == 0) {
		want = c.Middle // sendmail offers no STARTTLS without a CACertFile that it can load
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

// join appends to first those of others that are not in it yet.
func join(first, others []*x509.Certificate) []*x509.Certificate {
	out := slices.Clone(first)
	for _, c := range others {
		if !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	return out
}
