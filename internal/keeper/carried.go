package keeper

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// carriedLasts is how long a new key waits for a certificate that a person
// carries.
const carriedLasts = 30 * 24 * time.Hour

// Request is a certificate request for this host in PEM: over its key, or over
// a new one that waits in the staging area.
func (k *Keeper) Request(ctx context.Context, rekey bool) ([]byte, error) {
	obs := k.observe(ctx)
	name, _ := plan.HostName(k.cfg, obs.Host)
	if name == "" {
		return nil, errors.New("the host name cannot be certified: set host.name, or the host name")
	}
	if rekey {
		if err := k.stageKey(ctx); err != nil {
			return nil, err
		}
	}
	key, err := k.hostKey(rekey)
	if err != nil {
		return nil, fmt.Errorf("no host key to ask for (`mailcertd ensure` makes one): %w", err)
	}
	return pki.CreateRequest(key, name, k.cfg.Host.AltNames, k.o.Rand)
}

// stageKey makes a new key beside the old one, or keeps the one that waits.
func (k *Keeper) stageKey(ctx context.Context) error {
	lock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	set := durable.OpenSet(k.o.Disk, k.cfg.Certs.Dir)
	key, err := k.hostKey(true)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoKey) {
		return err // it is there, and may be waiting for its certificate
	}
	if err != nil {
		if key, err = k.newKey(ctx, k.cfg.Key.Type); err != nil {
			return err
		}
		data, err := pki.MarshalKey(key)
		if err != nil {
			return err
		}
		if err := set.Stage(certdir.KeyName, data, 0o600); err != nil {
			return err
		}
	}
	before, _ := k.loadState()
	after := before.Clone()
	plan.RequestOut(&after, key.Public(), k.o.Now(), carriedLasts)
	k.remember(before, after)
	return nil
}

// Incoming is a file that somebody wants installed.
type Incoming struct {
	Data []byte
	Path string // what it is called, for messages; "" when that is not known
	// Passphrase asks for the passphrase of an encrypted key; nil: there is nobody
	// to ask.
	Passphrase func(opens func([]byte) error) ([]byte, error)
	Force      bool // although name, dates or chain are not right
	DryRun     bool // check it alone
}

// parcel is what such a file holds.
type parcel struct {
	key    crypto.Signer // nil: it has none
	keyPEM []byte
	der    bool              // the file was a certificate in DER
	leaf   *x509.Certificate // nil: CA certificates alone
	middle []*x509.Certificate
	roots  []*x509.Certificate
}

// unpack takes a file apart, whatever the order of its parts.
func unpack(in Incoming) (parcel, error) {
	var p parcel
	certs := pki.CertFile{}
	if pem := pki.CertificateFromDER(in.Data); pem != nil {
		in.Data, p.der = pem, true
	}
	if bytes.Contains(in.Data, []byte("CERTIFICATE-----")) {
		certs = pki.ReadCertFile(in.Data)
		if certs.Err != nil {
			return p, certs.Err
		}
	}
	if bytes.Contains(in.Data, []byte("PRIVATE KEY-----")) {
		info := pki.ReadKeyFile(in.Data)
		if info.Keys > 1 {
			return p, fmt.Errorf("holds %d private keys, want one", info.Keys)
		}
		var secret []byte
		if info.Encrypted {
			if in.Passphrase == nil {
				return p, info.Err
			}
			var err error
			if secret, err = in.Passphrase(func(s []byte) error { _, err := pki.Decrypt(in.Data, s); return err }); err != nil {
				return p, err
			}
		}
		var err error
		if p.key, err = pki.Decrypt(in.Data, secret); err != nil {
			return p, fmt.Errorf("its key %w", err)
		}
		if p.keyPEM = pki.StripCertificates(in.Data); info.Encrypted {
			if p.keyPEM, err = pki.MarshalKey(p.key); err != nil {
				return p, err
			}
		}
	}
	if p.key == nil && len(certs.Certs) == 0 {
		return p, notTaken(in)
	}
	return p, p.sort(certs.Certs)
}

// notTaken names the form of a file of which nothing can be installed.
func notTaken(in Incoming) error {
	switch form := pki.FormOf(in.Data, in.Path); {
	case form.Name == "":
		return pki.ErrGarbage
	case form.Command == "":
		return fmt.Errorf("is %s; want certificate and key in PEM", form.Name)
	default:
		return fmt.Errorf("is %s; want certificate and key in PEM: %s", form.Name, form.Command)
	}
}

// sort tells the host's certificate from those of CAs.
func (p *parcel) sort(certs []*x509.Certificate) error {
	var leaves []*x509.Certificate
	for _, c := range certs {
		mine := p.key != nil && pki.SamePublicKey(c.PublicKey, p.key.Public())
		switch {
		case mine || !c.IsCA && !pki.SelfSigned(c):
			if !slices.ContainsFunc(leaves, c.Equal) {
				leaves = append(leaves, c)
			}
		case pki.SelfSigned(c):
			p.roots = append(p.roots, c)
		default:
			p.middle = append(p.middle, c)
		}
	}
	switch len(leaves) {
	case 0:
		if p.key != nil {
			return errors.New("holds a key and no certificate for it")
		}
		return nil
	case 1:
		p.leaf = leaves[0]
		return nil
	}
	return fmt.Errorf("holds %d certificates for hosts, want one and its chain", len(leaves))
}

// check says what speaks against the certificate: problems that --force
// overrules, and notes.
func (p parcel) check(obs plan.Observed, name string, now time.Time) (wrong []error, notes []string) {
	c := p.leaf
	if name == "" || c.VerifyHostname(name) != nil && !strings.EqualFold(c.Subject.CommonName, name) {
		wrong = append(wrong, fmt.Errorf("is for %s, and this host is called %q", strings.Join(plan.CertNames(c), ", "), name))
	} else if c.VerifyHostname(name) != nil {
		notes = append(notes, "the certificate has its name in the CN alone, without a subjectAltName")
	}
	if now.After(c.NotAfter) {
		wrong = append(wrong, fmt.Errorf("expired on %s", c.NotAfter.UTC().Format("2006-01-02")))
	} else if now.Before(c.NotBefore) {
		wrong = append(wrong, fmt.Errorf("is not valid before %s", c.NotBefore.UTC().Format("2006-01-02 15:04 UTC")))
	}
	uses := func(u x509.ExtKeyUsage) bool {
		return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, u) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	}
	if !uses(x509.ExtKeyUsageServerAuth) {
		wrong = append(wrong, errors.New("is not for servers (extendedKeyUsage lacks serverAuth)"))
	}
	if !uses(x509.ExtKeyUsageClientAuth) {
		notes = append(notes, "the certificate is not for clients (extendedKeyUsage lacks clientAuth): hosts that get mail from here will log verify=FAIL")
	}
	known := slices.Concat(p.middle, p.roots, obs.Certs.CA.File.Certs, obs.Accepted)
	for _, t := range obs.Certs.Trust {
		known = append(known, t.File.Certs...)
	}
	if g := obs.CA.Current.Cert; g != nil {
		known = append(known, g)
	}
	if pki.SelfSigned(c) {
		notes = append(notes, "the certificate is self-signed: other hosts will log verify=FAIL")
		return wrong, notes
	}
	if !slices.ContainsFunc(known, func(k *x509.Certificate) bool { return pki.IssuedBy(c, k) }) {
		wrong = append(wrong, fmt.Errorf("was issued by %q, which is neither in the file nor known here: add the chain", c.Issuer))
		return wrong, notes
	}
	if ended := endedAbove(c, known, now, 0); ended != nil {
		wrong = append(wrong, fmt.Errorf("its issuer %q expired on %s", ended.Subject, ended.NotAfter.UTC().Format("2006-01-02")))
	} else if why := mta.Objection(slices.Concat([]*x509.Certificate{c}, p.middle), known, now); why != "" {
		wrong = append(wrong, fmt.Errorf("does not verify with the CA certificates that are known here: OpenSSL says %q", why))
	}
	return wrong, notes
}

// endedAbove is an issuer that has expired, where every way up from c leads
// through one; nil when there is a way without.
func endedAbove(c *x509.Certificate, known []*x509.Certificate, now time.Time, depth int) *x509.Certificate {
	if depth > 10 || pki.SelfSigned(c) {
		return nil
	}
	var ended *x509.Certificate
	for _, k := range known {
		if bytes.Equal(k.Raw, c.Raw) || !pki.IssuedBy(c, k) {
			continue
		}
		above := k
		if !now.After(k.NotAfter) {
			above = endedAbove(k, known, now, depth+1)
		}
		if above == nil {
			return nil
		}
		if ended == nil {
			ended = above
		}
	}
	return ended
}

// InstallFile installs a certificate that a person carried here, with its key
// or over the one that is here, and tells sendmail: the same transaction as
// everything else. With the CA on another host a file of CA certificates alone
// says that they are right.
func (k *Keeper) InstallFile(ctx context.Context, in Incoming) (Result, []string, error) {
	p, err := unpack(in)
	if err != nil {
		return Result{}, nil, err
	}
	unlock := func() {}
	if !in.DryRun { // the lock makes the certs directory, to have something to hold
		lock, err := k.lock(ctx)
		if err != nil {
			return Result{}, nil, err
		}
		unlock = lock.Unlock
	}
	obs := k.observe(ctx)
	notes, err := k.installParcel(ctx, obs, p, in)
	if p.der {
		notes = append([]string{"the file holds a certificate in DER: it is taken as if it were PEM"}, notes...)
	}
	unlock()
	if err != nil || in.DryRun {
		return Result{Observed: obs}, notes, err
	}
	r, err := k.Settle(ctx, plan.Wish{Once: true})
	if p.leaf != nil && plan.LeafID(p.leaf) != installedLeaf(obs) {
		r.Done = append([]plan.Action{{Kind: plan.Install, Reason: plan.Installed, Path: k.cfg.Certs.Dir,
			Text: "install certificate " + serial(p.leaf) + " for " + strings.Join(plan.CertNames(p.leaf), ", ")}}, r.Done...)
	} else if err == nil && len(r.Done) == 0 && r.Observed.Certs.CA.Digest != obs.Certs.CA.Digest {
		r.Done = []plan.Action{{Kind: plan.Install, Reason: plan.Installed, Path: r.Observed.Certs.CA.Node.Path, Text: "install " + certdir.CAName}}
	}
	return r, notes, err
}

func installedLeaf(obs plan.Observed) string {
	if cs := obs.Certs.Cert.File.Certs; len(cs) > 0 {
		return plan.LeafID(cs[0])
	}
	return ""
}

func (k *Keeper) installParcel(ctx context.Context, obs plan.Observed, p parcel, in Incoming) ([]string, error) {
	if err := unseen(obs); err != nil {
		return nil, err
	}
	remote := k.cfg.Issuer.Kind == config.IssuerSSH
	if p.leaf == nil {
		if !remote {
			return nil, errors.New("holds no certificate for a host; CAs to be trusted belong into trust: in mailcertd.yaml")
		}
		if in.DryRun {
			return nil, nil
		}
		return nil, k.acceptAlso(obs, p.roots)
	}
	name, _ := plan.HostName(k.cfg, obs.Host)
	wrong, notes := p.check(obs, name, k.o.Now())
	if len(wrong) > 0 && !in.Force {
		return notes, fmt.Errorf("%w (--force installs it all the same)", errors.Join(wrong...))
	}
	for _, e := range wrong {
		notes = append(notes, e.Error())
	}
	c := &plan.Change{Pickup: true}
	add := func(f plan.File) {
		f.Reason = plan.Installed
		c.Files = append(c.Files, f)
	}
	switch pub := p.leaf.PublicKey; {
	case p.key != nil && !pki.SamePublicKey(pub, p.key.Public()):
		return notes, errors.New("its key and its certificate do not belong together")
	case p.key != nil && !pki.SamePublicKey(pub, obs.Certs.Key.Key.Public):
		add(plan.File{Name: certdir.KeyName, Mode: 0o600, Data: p.keyPEM})
	case pki.SamePublicKey(pub, obs.Certs.Key.Key.Public):
	case pki.SamePublicKey(pub, obs.Staged.Public):
		add(plan.File{Name: certdir.KeyName, Mode: 0o600, Source: plan.FromStaging})
		c.StagedKey = true
	default:
		return notes, fmt.Errorf("has no key in it, and is not for the key in %s: make a new request here", obs.Certs.Key.Node.Path)
	}
	text := pki.EncodeCertificate(p.leaf.Raw)
	for _, m := range p.middle {
		text = append(text, pki.EncodeCertificate(m.Raw)...)
	}
	if have := obs.Certs.Cert; have.Node.Kind != durable.File || have.Digest != sha256.Sum256(text) {
		add(plan.File{Name: certdir.CertName, Mode: 0o644, Data: text})
	}
	if f := trustFile(obs, p); f != nil {
		add(*f)
	}
	if in.DryRun {
		return notes, nil
	}
	k.copiesFor(obs, c)
	st := obs.State.Clone()
	if remote && len(p.roots) > 0 {
		if err := k.acceptAlso(obs, p.roots); err != nil {
			return notes, err
		}
	}
	st.Carried = state.Seen{Digest: plan.LeafID(p.leaf), Since: k.o.Now().UTC().Truncate(time.Second)}
	if len(c.Files) == 0 { // it is what lies here
		k.remember(obs.State, st)
		return notes, nil
	}
	err := k.install(ctx, obs, &st, plan.Action{Kind: plan.Install, Reason: plan.Installed, Path: k.cfg.Certs.Dir, Text: "install what was carried here", Change: c})
	return notes, err
}

// acceptAlso takes these over too; what is known already is not written again.
func (k *Keeper) acceptAlso(obs plan.Observed, roots []*x509.Certificate) error {
	want := join(roots, obs.Accepted)
	if slices.EqualFunc(want, obs.Accepted, (*x509.Certificate).Equal) {
		return nil
	}
	return k.accept(want)
}

// trustFile is where the CA certificates of a parcel go: in front of those in
// cacert.pem; into a file of trust/ where cacert.pem is somebody's link. nil:
// they are trusted already.
func trustFile(obs plan.Observed, p parcel) *plan.File {
	have := obs.Certs.CA
	all := slices.Clone(have.File.Certs)
	for _, t := range obs.Certs.Trust {
		all = append(all, t.File.Certs...)
	}
	want := p.roots
	if len(want) == 0 && (have.File.Err != nil || len(have.File.Certs) == 0) {
		want = p.middle // sendmail needs a CACertFile that loads
	}
	missing := slices.ContainsFunc(want, func(w *x509.Certificate) bool { return !slices.ContainsFunc(all, w.Equal) })
	if !missing {
		return nil
	}
	encode := func(certs []*x509.Certificate) []byte {
		var b []byte
		for _, c := range certs {
			b = append(b, pki.EncodeCertificate(c.Raw)...)
		}
		return b
	}
	if have.Node.Kind == durable.Link {
		return &plan.File{Name: certdir.TrustDir + "/installed.pem", Mode: 0o644, Data: encode(want)}
	}
	others := slices.DeleteFunc(slices.Clone(have.File.Certs), func(c *x509.Certificate) bool { // the stop-gap has done its time
		return slices.Contains(c.Subject.Organization, plan.InterimOrganization)
	})
	return &plan.File{Name: certdir.CAName, Mode: 0o644, Data: encode(join(want, others))}
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
