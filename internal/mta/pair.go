package mta

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Role is how sendmail uses a pair.
type Role int

// The roles.
const (
	FirstServer  Role = iota // the first names of ServerCertFile and ServerKeyFile
	SecondServer             // the names after the comma there
	ShownClient              // ClientCertFile and ClientKeyFile, where these name other files
)

// CertView is a certificate file as sendmail examines it.
type CertView struct {
	View
	File pki.CertFile
}

// KeyView is a key file as sendmail examines it. It holds no secret.
type KeyView struct {
	View
	Key pki.KeyFile
}

// Pair is a key and its certificate, by the names in sendmail.cf. A Path is "" where the cf names no file.
type Pair struct {
	Cert CertView
	Key  KeyView
}

// namePairs splits the options into lists of names, as inittls() in sendmail's tls.c does (8.15 and later; measured
// with 8.17): after the first comma comes the name of a second file, and a key has a second name only where the
// certificate has one. Blanks are part of the names.
func (cf *CF) namePairs() {
	for _, o := range []struct {
		name      string
		cert, key *[]string
		means     string
	}{
		{"Server", &cf.ServerCert, &cf.ServerKey, "sendmail offers no STARTTLS"},
		{"Client", &cf.ClientCert, &cf.ClientKey, "other hosts are shown no certificate"},
	} {
		if len(*o.cert) == 0 {
			continue // named() complains about a missing option
		}
		say := func(option, format string, args ...any) {
			cf.Problems = append(cf.Problems, o.name+option+": "+fmt.Sprintf(format, args...))
		}
		cert, certs, two := strings.Cut((*o.cert)[0], ",")
		key, keys, twoKeys := strings.Cut(strings.Join(*o.key, ""), ",")
		switch {
		case two && twoKeys:
			*o.cert, *o.key = []string{cert, certs}, []string{key, keys}
		case two && len(*o.key) == 0:
			*o.cert = []string{cert, certs}
		case two:
			*o.cert = []string{cert, certs}
			say("KeyFile", "names one file, and %sCertFile two: the second certificate is not used", o.name)
		case twoKeys:
			say("KeyFile", "sendmail takes %q for one name, because %sCertFile has no comma: %s", (*o.key)[0],
				o.name, o.means)
		}
		for _, list := range []struct {
			option string
			names  []string
		}{{"CertFile", *o.cert}, {"KeyFile", *o.key}} {
			if len(list.names) < 2 {
				continue
			}
			for _, name := range list.names {
				switch {
				case strings.TrimSpace(name) != name:
					say(list.option,
						"the blank in %q is a part of the name for sendmail: write the two names with a comma alone "+
							"between them", name)
				case strings.Contains(name, ","):
					say(list.option, "names more than two files: sendmail takes %q for one name", name)
				case name == "":
					say(list.option, "there is no name on one side of the comma: %s", o.means)
				}
			}
		}
	}
}

// readPair reads the n-th files of the lists. It keeps no secret.
func readPair(certs, keys []string, n int) Pair {
	var p Pair
	if n < len(certs) {
		p.Cert.View = viewOf(certs[n], maxPair)
		if node := p.Cert.Node; node.Err == nil && node.IsRegular {
			p.Cert.File = pki.ReadLeafFile(node.Data)
		}
		p.Cert.Node.Data = nil
	}
	if n < len(keys) {
		p.Key.View = viewOf(keys[n], maxPair)
		if node := p.Key.Node; node.Err == nil && node.IsRegular {
			p.Key.Key = pki.ReadKeyFile(node.Data)
		}
		p.Key.Node.Data = nil
	}
	return p
}

// viewOf examines a file that sendmail.cf names, and the directories above it. It ignores a name that is not absolute.
func viewOf(path string, most int64) View {
	v := View{Path: path}
	if !strings.HasPrefix(path, "/") {
		return v
	}
	v.Node = durable.Read(path, most).Located()
	at := path
	if v.Node.Resolved != "" {
		at = v.Node.Resolved
	}
	for at != "/" && at != "." {
		at = filepath.Dir(at)
		v.Parents = append(v.Parents, durable.Look(at).Located())
	}
	return v
}

// needed is what sendmail requires of a pair before it offers STARTTLS.
type needed struct {
	safe  bool // its files exist, with safe modes and owners
	loads bool // OpenSSL can load them
}

// needs returns what sendmail requires of a pair. A second server pair must exist and be safe like the first, but is
// only left out where OpenSSL cannot load it. Without a usable client pair, sendmail shows no certificate as a client.
func (r Role) needs() needed { return needed{safe: r != ShownClient, loads: r == FirstServer} }

// load complains about a pair that OpenSSL cannot load: each file must be readable for OpenSSL, and they must belong
// together and be strong enough for its security level. It does not judge a key of an unknown kind.
func (j *judge) load(p Pair, n needed) {
	cert, key := p.Cert.File, p.Key.Key
	if p.Cert.Node.IsRegular && cert.Err != nil && !unjudged(cert.Err) {
		j.complain(p.Cert.Path, "SSL_CTX_use_certificate_file failed: "+cert.Err.Error(), n.loads)
	}
	if p.Key.Node.IsRegular && key.Err != nil && !unjudged(key.Err) {
		j.complain(p.Key.Path, "SSL_CTX_use_PrivateKey_file failed: "+key.Err.Error(), n.loads)
	}
	if cert.Err != nil || len(cert.Certs) == 0 {
		return
	}
	leaf := cert.Certs[0]
	if why := j.f.Libssl.Refuses(leaf); why != "" {
		j.complain(p.Cert.Path, "SSL_CTX_use_certificate_file failed: "+why, n.loads)
		return
	}
	if leaf.PublicKey == nil || key.Err != nil || key.Public == nil {
		return
	}
	if !pki.SamePublicKey(leaf.PublicKey, key.Public) {
		j.complain(p.Cert.Path, "SSL_CTX_check_private_key failed: it is not for the key in "+p.Key.Path, n.loads)
	}
}

// others judges the pairs beside the first server pair.
func (j *judge) others() {
	for _, o := range []struct {
		pair *Pair
		role Role
	}{{j.f.Second, SecondServer}, {j.f.Client, ShownClient}} {
		if o.pair == nil {
			continue
		}
		from, n := len(j.out), o.role.needs()
		if strings.HasPrefix(o.pair.Cert.Path, "/") { // otherwise named() complains, or it concerns only the client
			j.file(o.pair.Cert.View, false, n.safe)
		}
		if strings.HasPrefix(o.pair.Key.Path, "/") {
			j.file(o.pair.Key.View, true, n.safe)
		}
		j.load(*o.pair, n)
		if o.role == SecondServer {
			j.oneFamily(*o.pair)
		}
		for i := from; i < len(j.out); i++ {
			j.out[i].Of = o.role
		}
	}
}

// oneFamily complains about a second pair of the same key family. OpenSSL keeps one certificate of each family: the
// second replaces the first, whose key is lost, and no handshake succeeds.
func (j *judge) oneFamily(second Pair) {
	a, b := j.f.Cert.File, second.Cert.File
	if a.Err != nil || b.Err != nil || len(a.Certs) == 0 || len(b.Certs) == 0 ||
		pki.SamePublicKey(a.Certs[0].PublicKey, b.Certs[0].PublicKey) {
		return
	}
	family := pki.TypeOf(a.Certs[0].PublicKey).Family()
	if family == "" || family != pki.TypeOf(b.Certs[0].PublicKey).Family() {
		return
	}
	j.complain(second.Cert.Path,
		fmt.Sprintf("no TLS handshake succeeds: the key is of the same kind (%s) as that of %s", family,
			j.f.Cert.Path), true)
}
