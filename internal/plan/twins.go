package plan

import (
	"slices"

	"mailcertd/internal/certdir"
	"mailcertd/internal/pki"
)

// The two server pairs need one RSA and one ECDSA key: OpenSSL serves one certificate of each kind, and with two of one
// kind no TLS handshake succeeds. key.type and key.second name the two types. A key that works stays in its pair,
// whichever of the two types it has, and the other pair gets the other type.

// twin reports whether this is the second pair and its key is of the same kind as host.key.
func twin(p *pair) bool {
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
func follows(p *pair) bool {
	return p.is == certdir.HostECDSA && p.key != nil && !twin(p) && p.kind() == nextKind(p.host)
}

// following is the need of the second pair when follows is true.
var following = need{reason: KeyFamily, severity: Notice, key: true, path: keyPath, text: func(*pair) string {
	return "host.key gets a key of the same kind, but sendmail serves only one certificate of each kind: this pair " +
		"gets a key of the other kind"
}}

// stagedTwin reports whether the staged key of the second pair is of the kind that host.key has or will have.
func stagedTwin(p *pair) bool {
	return p.is == certdir.HostECDSA && p.staged.Public != nil &&
		pki.TypeOf(p.staged.Public).Family() == nextKind(p.host)
}

// nextKind returns the family that the key of this pair will have when the present decision about it is carried out.
func nextKind(p *pair) string {
	if _, bad := p.unreadable(); bad || p.held() || p.keptForeign() {
		return p.kind()
	}
	changes := slices.ContainsFunc(p.needs(), func(n need) bool { return n.key })
	if s := p.staged.Public; s != nil && (changes || p.owner.mine() && p.maySign() && p.candidate(s, AskedKey) != nil) {
		return pki.TypeOf(s).Family()
	}
	if changes {
		return newKeyType(p).Family()
	}
	return p.kind()
}

// newKeyType returns the type of the pair's next key: the configured one, else that of the present key. It is never of
// the kind that the other server pair keeps.
func newKeyType(p *pair) pki.KeyType {
	t := p.cfg.Key.Type
	if p.is == certdir.HostECDSA && p.cfg.Key.Second != "" {
		t = p.cfg.Key.Second
	} else if (!p.cfg.Key.TypeSet || p.is == certdir.HostECDSA) && p.key != nil && !weak(p.key) {
		if is, err := pki.ParseKeyType(string(pki.TypeOf(p.key))); err == nil {
			t = is
		}
	}
	taken := ""
	switch s := p.pair(certdir.HostECDSA); {
	case p.is == certdir.HostECDSA:
		taken = nextKind(p.host)
	case p.is == certdir.Host && (s.wanted || s.kept()) && s.matches && !twin(s):
		if s.keptForeign() || s.held() || !(p.askedKey) && !p.rotates() {
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
func apart(a *assessment, c Change) Change {
	s := a.pair(certdir.HostECDSA)
	after := func(p *pair) string {
		switch {
		case c.file(p.is.KeyFile) != nil && p.staged.Public != nil:
			return pki.TypeOf(p.staged.Public).Family()
		case slices.Contains(c.Drop, p.is.KeyFile):
			return ""
		}
		return p.kind()
	}
	if twin(s) || after(s) == "" || after(s) != after(a.host) {
		return c
	}
	c.Files, c.Copies = slices.Clone(c.Files), slices.Clone(c.Copies)
	for _, p := range []*pair{a.host, s} {
		c.Files = slices.DeleteFunc(c.Files, func(f File) bool {
			return f.Name == p.is.KeyFile || f.Name == p.is.CertFile
		})
		c.Copies = slices.DeleteFunc(c.Copies,
			func(f Copied) bool { return f.Name == p.is.KeyFile || f.Name == p.is.CertFile })
	}
	return c
}
