package certdir

import (
	"crypto/sha256"
	"crypto/x509"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Reader reads certificate files for one look, each of them once even where many links lead to it. It never holds a
// key. Only one goroutine may use it. The zero value is ready for use.
type Reader struct{ known map[ident]*parsed }

// ident identifies the content of a file by its stat(2).
type ident struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // ns
}

// parsed is the content of a certificate file.
type parsed struct {
	file   pki.CertFile
	digest [32]byte
	hasKey bool
	certs  []*x509.Certificate // those that can be parsed, also where others cannot
	hashes []uint32            // the subject hash of each of file.Certs
	hashed []bool              // false: the hash of its subject cannot be computed
	passed int                 // how many certificates cannot be parsed
}

func identOf(n durable.Node) ident {
	return ident{dev: n.Dev, ino: n.Ino, size: n.Size, mtime: n.Modified.UnixNano(), ctime: n.Changed.UnixNano()}
}

func (c *Reader) find(n durable.Node) *parsed { return c.known[identOf(n)] }

func (c *Reader) put(id ident, p *parsed) {
	if c.known == nil {
		c.known = map[ident]*parsed{}
	}
	c.known[id] = p
}

// read returns the content of the file that n describes. n must be a regular file.
func (c *Reader) read(n durable.Node) (*parsed, error) {
	if p := c.find(n); p != nil {
		return p, nil
	}
	file := durable.Read(n.Path, MaxFile)
	if file.Err != nil {
		return nil, file.Err
	}
	p := parse(file.Data)
	c.put(identOf(file), p)
	return p, nil
}

func parse(data []byte) *parsed {
	p := &parsed{file: pki.ReadCertFile(data), digest: sum(data), hasKey: pki.HoldsKey(data)}
	p.certs, p.passed = p.file.Certs, p.file.Passed+p.file.Refused
	for _, x := range p.file.Certs {
		h, err := pki.SubjectHash(x.RawSubject)
		p.hashes, p.hashed = append(p.hashes, h), append(p.hashed, err == nil)
	}
	return p
}

// with returns the certificates with that subject hash, by the SHA-256 of their DER.
func (p *parsed) with(hash uint32) [][32]byte {
	var out [][32]byte
	for i, c := range p.file.Certs {
		if p.hashed[i] && p.hashes[i] == hash {
			out = append(out, sha256.Sum256(c.Raw))
		}
	}
	return out
}
