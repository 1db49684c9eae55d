// Package given builds observations for plan in a few words: given.Host(given.ExpiresIn(20*given.Day)). Only tests use
// it: those of the decisions and those of the pages.
package given

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"io/fs"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// World is an observation of a host, what a person wishes, and the time.
type World struct {
	Config config.Config
	Seen   plan.Observed
	Wish   plan.Wish
	Now    time.Time
}

// Plan returns the decision about this observation.
func (w World) Plan() plan.Plan { return plan.Make(w.Config, w.Seen, w.Wish, w.Now) }

// Fact changes one thing about the host of Host, for example what has happened to one of its files.
type Fact func(*host)

// The host name and the directories of all observations.
const (
	Name     = "mail.home.example"
	Certs    = "/etc/mail/certs"
	CADir    = "/etc/mail/CA"
	StateDir = "/var/db/mailcertd"
	TLSA     = "_25._tcp.mail.home.example." // the name of its TLSA records, of which there are none
)

// host is the host that facts change. observe then makes the observation of it.
type host struct {
	World
	cas      map[string]*x509.Certificate // CA certificates by the label of their key
	current  string                       // label of the CA that issues; "" for none
	older    []string
	next     string
	made     bool
	leaf     leaf
	noPair   bool
	cacert   []string // labels of the CAs in cacert.pem; nil for those that belong there
	keyCerts int
	group    string
	age      time.Duration // how long ago the files were written
	crl      *x509.RevocationList
	since    []func(*host) // changes after sendmail picked up this set
}

// Host returns an observation of a host with the given facts. Without any, the host needs nothing: it has its own CA, a
// certificate that is 100 days old and valid for another 265 days, and a sendmail that serves it.
func Host(facts ...Fact) World {
	h := &host{current: "ca", made: true, group: "ffdhe3072", age: 100 * Day, cas: map[string]*x509.Certificate{}}
	h.Config = config.Default("")
	h.Config.Path = "/usr/local/etc/mailcertd.yaml"
	h.Now = Now
	h.Wish.Once = false
	h.cas["ca"] = rootOf("ca", subject, Now.Add(-400*Day), Now.Add(3250*Day))
	h.leaf = leaf{key: "host", names: []string{Name}, begins: Now.Add(-100 * Day), ends: Now.Add(265 * Day),
		issuer: "ca",
		usage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, f := range facts {
		f(h)
	}
	h.observe()
	for _, f := range h.since {
		f(h)
	}
	return h.World
}

var subject = pkix.Name{Organization: []string{"Home"}, CommonName: "mailcertd CA " + Name}

// later makes a fact of a change that happens after sendmail has picked up the set.
func later(do func(*host)) Fact { return func(h *host) { h.since = append(h.since, do) } }

// Seeing changes the observation where no other fact does.
func Seeing(do func(*plan.Observed)) Fact { return later(func(h *host) { do(&h.Seen) }) }

// Configured changes the configuration.
func Configured(do func(*config.Config)) Fact { return func(h *host) { do(&h.Config) } }

// observe makes the observation.
func (h *host) observe() {
	o := &h.Seen
	o.Root, o.Build = true, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Host.System = Name
	o.Accept = plan.Acceptance{Root: true, OwnersOK: []uint32{0}, Now: h.Now}
	o.StateDir = directory(StateDir, 0o700)
	o.Account = plan.Account{Name: "mailcertd", GID: 1001}
	d := &o.Certs
	d.Path, d.Node, d.Parents = Certs, directory(Certs, 0o755),
		[]durable.Node{directory("/etc/mail", 0o755), directory("/etc", 0o755), directory("/", 0o755)}
	o.CA = h.privateCA()
	c := h.certificate()
	d.Key.Node, d.Key.Digest = h.file(certdir.KeyName, 0o600, []byte("key "+h.leaf.key))
	d.Key.Node.Data = nil
	d.Key.Key = pki.KeyFile{Public: public(h.leaf.key), Type: pki.TypeOf(public(h.leaf.key)), Form: "PKCS#8", Keys: 1,
		Certs: h.keyCerts}
	d.Cert = h.certs(certdir.CertName, pki.ReadLeafFile, append([]*x509.Certificate{c}, h.leaf.behind...)...)
	d.CA = h.certs(certdir.CAName, pki.ReadCertFile, h.trusted()...)
	d.DH.Node, d.DH.Digest = h.file(certdir.DHName, 0o644, must(dh.Group(h.group)).PEM())
	d.CRL.Node = durable.Node{Path: filepath.Join(Certs, certdir.CRLName)}
	for _, p := range certdir.Pairs()[1:] {
		*d.Pair(p) = certdir.PairEntry{
			Key: certdir.KeyEntry{Node: durable.Node{Path: filepath.Join(Certs, p.KeyFile)},
				Key: pki.KeyFile{Err: fs.ErrNotExist}},
			Cert: certdir.CertEntry{Node: durable.Node{Path: filepath.Join(Certs, p.CertFile)},
				File: pki.CertFile{Err: fs.ErrNotExist}},
		}
	}
	if h.noPair {
		h.empty()
	}
	h.link()
	o.CF = cf(Certs)
	started := h.Now.Add(-h.age + time.Minute)
	o.MTA = mta.Identity{Status: mta.OK, PID: 812, PidFile: "/var/run/sendmail.pid", Argv0: "/usr/sbin/sendmail",
		CF:       "/etc/mail/sendmail.cf",
		Argv:     []string{"/usr/sbin/sendmail", "-L", "sm-mta", "-bd", "-q30m"},
		Instance: mta.Instance{PID: 812, PIDFile: "/var/run/sendmail.pid", PIDFileID: "1:2:3", Started: started}}
	h.remember(started)
}

// remember fills the state with what mailcertd notes when it makes and delivers such a set.
func (h *host) remember(started time.Time) {
	o, d := &h.Seen, &h.Seen.Certs
	s := &o.State
	s.HighWater = h.Now.Add(-2 * time.Hour)
	s.DANE = dane.Memory{}.Saw(dane.Look{At: h.Now.Add(-time.Hour), Names: []dane.Name{{Name: TLSA}}})
	if h.noPair {
		return
	}
	if c := h.cas[h.current]; c != nil {
		s.CA = pki.KeyFingerprint(c.PublicKey)
	}
	if h.leaf.issuer != "bought" {
		s.Ours = map[string]state.Ours{}
		for _, f := range []struct {
			sum  [32]byte
			kind string
		}{{d.Key.Digest, "key"}, {d.Cert.Digest, "cert"}, {d.CA.Digest, "ca"}, {d.DH.Digest, "dh"}} {
			s.Ours[plan.FileID(f.sum)] = state.Ours{Kind: f.kind, At: h.Now.Add(-h.age)}
		}
	}
	if h.leaf.comment {
		s.Ours = nil
	}
	s.PickedUp = state.PickedUp{Set: plan.SetID(*d), Leaf: pki.Fingerprint(d.Cert.File.Certs[0]), At: started,
		How:      plan.Proven,
		Instance: plan.InstanceID(plan.Instance(o.MTA)), Addr: "127.0.0.1:25"}
	s.Pickups = []state.PickupResult{{At: started, Leaf: s.PickedUp.Leaf,
		Serial: ca.FormatSerial(d.Cert.File.Certs[0].SerialNumber), Result: plan.Proven}}
}

// certificate returns the leaf in host.cert.
func (h *host) certificate() *x509.Certificate { return h.leaf.certificate(h.cas[h.leaf.issuer]) }

// trusted returns the certificates in cacert.pem.
func (h *host) trusted() (out []*x509.Certificate) {
	if h.cacert == nil && h.Config.Issuer.Kind == config.IssuerLocal {
		return ca.Bundle(h.Seen.CA, h.Now)
	}
	labels := h.cacert
	if labels == nil {
		labels = []string{h.leaf.issuer}
	}
	for _, l := range labels {
		out = append(out, h.cas[l])
	}
	return out
}

// privateCA returns the observation of the CA directory.
func (h *host) privateCA() ca.Observed {
	o := ca.Observed{Dir: directory(CADir, 0o700), KeyInfo: pki.KeyFile{Err: fs.ErrNotExist}}
	c := h.cas[h.current]
	if c == nil || h.Config.Issuer.Kind != config.IssuerLocal {
		o.Dir = durable.Node{Path: CADir}
		return o
	}
	o.Status, o.Made = ca.Complete, h.made
	o.Key, _ = h.file("../CA/cakey.pem", 0o600, []byte("CA key"))
	o.Key.Path, o.Key.Resolved, o.Key.Data = CADir+"/cakey.pem", CADir+"/cakey.pem", nil
	o.KeyInfo = pki.KeyFile{Public: c.PublicKey, Type: pki.ECDSAP256, Form: "PKCS#8", Keys: 1}
	o.Current = ca.Generation{Dir: CADir, Cert: c, HasKey: true}
	for i, label := range h.older {
		g := ca.Generation{N: len(h.older) - i, Dir: CADir + "/gen-1", Cert: h.cas[label], HasKey: true,
			Cross: cross(c, h.cas[label], label)}
		if h.leaf.issuer == label {
			g.LastLeaf = h.leaf.ends
		}
		o.Older = append(o.Older, g)
	}
	if n := h.cas[h.next]; n != nil {
		o.Next = ca.Generation{Dir: CADir + "/next", Cert: n, HasKey: true, Cross: cross(n, c, h.current)}
	}
	if slices.Contains(append([]string{h.current, h.next}, h.older...), h.leaf.issuer) && !h.noPair {
		issue(&o, h.certificate())
		o.ServingRows = map[string]ca.Entry{ca.FormatSerial(o.Issued[0].Serial): *o.Issued[0].Row}
	}
	return o
}

// issue adds a certificate to the CA's database as the newest.
func issue(o *ca.Observed, c *x509.Certificate) {
	o.Rows++
	o.Issued = slices.Insert(o.Issued, 0, ca.Issued{Serial: c.SerialNumber, Path: CADir + "/newcerts/" +
		ca.FormatSerial(c.SerialNumber) + ".pem", Cert: c,
		Row: &ca.Entry{Status: ca.Valid, Expires: c.NotAfter, Serial: c.SerialNumber, File: "unknown",
			Subject: pki.OneLine(c.RawSubject), Line: o.Rows}})
	o.Serial = new(big.Int).Add(c.SerialNumber, big.NewInt(1))
}

// empty removes all files from the certs directory.
func (h *host) empty() {
	d := &h.Seen.Certs
	missing := func(name string) durable.Node { return durable.Node{Path: filepath.Join(Certs, name)} }
	none := fs.ErrNotExist
	d.Key = certdir.KeyEntry{Node: missing(certdir.KeyName), Key: pki.KeyFile{Err: none}}
	d.Cert = certdir.CertEntry{Node: missing(certdir.CertName), File: pki.CertFile{Err: none}}
	d.CA = certdir.CertEntry{Node: missing(certdir.CAName), File: pki.CertFile{Err: none}}
	d.DH, d.CRL = certdir.DHEntry{Node: missing(certdir.DHName)}, certdir.DHEntry{Node: missing(certdir.CRLName)}
}

// link makes the hash links that the present files need.
func (h *host) link() {
	d := &h.Seen.Certs
	want := map[string][]*x509.Certificate{}
	if len(d.CA.File.Certs) > 0 && d.CA.File.Err == nil {
		want[certdir.CAName] = d.CA.File.Certs
	}
	for _, t := range d.Trust {
		want[certdir.TrustDir+"/"+filepath.Base(t.Node.Path)] = t.File.Certs
	}
	d.Links = nil
	for _, l := range certdir.Links(nil, want) {
		hash := must(pki.SubjectHash(want[l.Target][0].RawSubject))
		for _, c := range want[l.Target] {
			if got := must(pki.SubjectHash(c.RawSubject)); strings.HasPrefix(l.Name,
				pki.HashName(c.RawSubject, 0)[:8]) {
				hash = got
			}
		}
		d.Links = append(d.Links, h.hashLink(l.Name, hash, l.Target, want[l.Target]))
	}
}

func (h *host) hashLink(name string, hash uint32, target string, certs []*x509.Certificate) certdir.Link {
	n, _ := h.file(target, 0o644, nil)
	n.Path, n.Kind, n.Target = filepath.Join(Certs, name), durable.Link, target
	l := certdir.Link{Name: name, Hash: hash, Node: n, Local: true, Loads: true, Right: true}
	for _, c := range certs {
		l.Certs = append(l.Certs, sha256.Sum256(c.Raw))
	}
	return l
}

// file returns the observation of a file that is as old as the set.
func (h *host) file(name string, mode fs.FileMode, data []byte) (durable.Node, [32]byte) {
	path := filepath.Join(Certs, name)
	at := h.Now.Add(-h.age)
	return durable.Node{Path: path, Kind: durable.File, Resolved: path, Exists: true, IsRegular: true, Mode: mode,
		Size:     int64(len(data)),
		Modified: at, Changed: at, Dev: 1, Ino: uint64(len(name)) * 7, Nlink: 1, Data: data}, sha256.Sum256(data)
}

// certs returns the observation of a file of certificates.
func (h *host) certs(name string, read func([]byte) pki.CertFile, certs ...*x509.Certificate) certdir.CertEntry {
	var data []byte
	for _, c := range certs {
		data = append(data, pki.EncodeCertificate(c.Raw)...)
	}
	n, sum := h.file(name, 0o644, data)
	n.Data = nil
	return certdir.CertEntry{Node: n, File: read(data), Digest: sum}
}

func directory(path string, mode fs.FileMode) durable.Node {
	return durable.Node{Path: path, Kind: durable.Directory, Resolved: path, Exists: true, IsDir: true, Mode: mode,
		Changed: Now.Add(-100 * Day), Nlink: 2}
}

// options are the options of sendmail.cf that name files of the certs directory, each with the end of its path.
var options = map[string]string{"ServerCertFile": "/host.cert", "ServerKeyFile": "/host.key",
	"ClientCertFile": "/host.cert", "ClientKeyFile": "/host.key",
	"CACertFile": "/cacert.pem", "CACertPath": "", "DHParameters": "/dh.param"}

// cf returns a sendmail.cf that names the files of dir and has these further lines.
func cf(dir string, more ...string) mta.CF {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(options)) {
		lines = append(lines, "O "+name+"="+dir+options[name])
	}
	c := mta.ParseCF([]byte(strings.Join(append(lines, more...), "\n") + "\n"))
	c.Path = "/etc/mail/sendmail.cf"
	c.Node = durable.Node{Path: c.Path, Kind: durable.File, Resolved: c.Path, Exists: true,
		IsRegular: true, Mode: 0o644,
		Size: 60000, Changed: Now.Add(-300 * Day), Nlink: 1}
	return c
}
