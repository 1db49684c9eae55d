package plan

import (
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// The two server pairs need one RSA and one ECDSA key: OpenSSL serves one certificate of each kind, and with two of one
// kind no TLS handshake succeeds. key.type and key.second name the two types. A key that works stays in its pair,
// whichever of the two types it has, and the other pair gets the other type.

// second returns the second server pair.
func (a *assessment) second() *pair {
	for _, p := range a.pairs {
		if p.is == certdir.HostECDSA {
			return p
		}
	}
	return nil
}

// kind returns the family of the installed key, "" where no key can be read.
func (p *pair) kind() string {
	if p == nil || p.key == nil {
		return ""
	}
	return pki.TypeOf(p.key).Family()
}

// twin reports whether this is the second pair and its key is of the same kind as host.key.
func (p *pair) twin() bool {
	return p.is == certdir.HostECDSA && p.key != nil && p.kind() == p.host.kind()
}

// twinHint says what to do about a second pair that is not ours and whose key is of the same kind as host.key.
func twinHint(p *pair) string {
	hint := "move " + p.keyFile.Node.Path + " and " + p.certFile.Node.Path + " to another directory; "
	if p.wanted {
		return hint + "mailcertd then makes a second pair with a key of the other kind"
	}
	return hint + "then take them out of confSERVER_CERT and confSERVER_KEY in the host's .mc file and run " +
		"`make -C /etc/mail install restart`"
}

// follows reports whether this is the second pair and the next host.key will be of the same kind as its key.
func (p *pair) follows() bool {
	return p.is == certdir.HostECDSA && p.key != nil && !p.twin() && p.kind() == p.host.nextKind()
}

// following is the need of the second pair when follows is true.
var following = need{reason: KeyFamily, severity: Notice, key: true, path: keyPath, text: func(*pair) string {
	return "host.key gets a key of the same kind, but sendmail serves only one certificate of each kind: this pair " +
		"gets a key of the other kind"
}}

// stagedTwin reports whether the staged key of the second pair is of the kind that host.key has or will have.
func (p *pair) stagedTwin() bool {
	return p.is == certdir.HostECDSA && p.staged.Public != nil &&
		pki.TypeOf(p.staged.Public).Family() == p.host.nextKind()
}

// nextKind returns the family that the key of this pair will have when the present decision about it is carried out.
func (p *pair) nextKind() string {
	if _, bad := p.unreadable(); bad || p.held() || p.keptForeign() {
		return p.kind()
	}
	changes := slices.ContainsFunc(p.needs(), func(n need) bool { return n.key })
	if s := p.staged.Public; s != nil && (changes || p.owner.mine() && p.maySign() && p.candidate(s, AskedKey) != nil) {
		return pki.TypeOf(s).Family()
	}
	if changes {
		return p.newKeyType().Family()
	}
	return p.kind()
}

// newKeyType returns the type of the pair's next key: the configured one, else that of the present key. It is never of
// the kind that the other server pair keeps.
func (p *pair) newKeyType() pki.KeyType {
	t := p.cfg.Key.Type
	if p.is == certdir.HostECDSA && p.cfg.Key.Second != "" {
		t = p.cfg.Key.Second
	} else if (!p.cfg.Key.TypeSet || p.is == certdir.HostECDSA) && p.key != nil && !weak(p.key) {
		if is, err := pki.ParseKeyType(string(pki.TypeOf(p.key))); err == nil {
			t = is
		}
	}
	taken := ""
	switch s := p.second(); {
	case p.is == certdir.HostECDSA:
		taken = p.host.nextKind()
	case p.is == certdir.Host && s != nil && (s.wanted || s.kept()) && s.matches && !s.twin():
		if s.keptForeign() || s.held() || !(p.wish.Rekey && p.rekeyOpen()) && !p.rotates() {
			taken = s.kind()
		}
	}
	for _, other := range []pki.KeyType{p.cfg.Key.Type, p.cfg.Key.Second, pki.RSA2048, pki.ECDSAP256} {
		if t.Family() == taken && other != "" {
			t = other
		}
	}
	return t
}

// apart removes the server pairs from a change that would install two keys of one kind. That happens while only one of
// the two pairs has its new certificate; both are installed together later.
func (a *assessment) apart(c Change) Change {
	s := a.second()
	after := func(p *pair) string {
		switch {
		case c.file(p.is.KeyFile) != nil && p.staged.Public != nil:
			return pki.TypeOf(p.staged.Public).Family()
		case slices.Contains(c.Drop, p.is.KeyFile):
			return ""
		}
		return p.kind()
	}
	if s.twin() || after(s) == "" || after(s) != after(a.host) {
		return c
	}
	for _, p := range []*pair{a.host, s} {
		c.Files = slices.DeleteFunc(c.Files, func(f File) bool {
			return f.Name == p.is.KeyFile || f.Name == p.is.CertFile
		})
		c.Archive = slices.DeleteFunc(c.Archive,
			func(f Archived) bool { return f.Name == p.is.KeyFile || f.Name == p.is.CertFile })
	}
	return c
}
