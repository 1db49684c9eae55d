package certdir

import (
	"crypto/sha256"
	"crypto/x509"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// restBeforeTrust is how long a file must have rested before its times tell
// its contents apart: file systems stamp in steps of up to two seconds (FAT;
// a few milliseconds on UFS, ZFS and ext4), and within one step a second
// change leaves the same times behind.
const restBeforeTrust = 2 * time.Second

// Cache remembers what certificate files hold from one look to the next, by
// device, inode, size, mtime and ctime, so that a bundle is not parsed again
// as long as nobody touches it. It never holds a key. The zero value remembers
// nothing beyond one look; it is not safe for concurrent use.
type Cache struct {
	now      time.Time
	cur, old map[ident]*parsed
}

// ident is what stat(2) says of a content.
type ident struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // ns
}

// parsed is a certificate file, worked out once.
type parsed struct {
	file   pki.CertFile
	digest [32]byte
	certs  []*x509.Certificate // all that can be read, also where another cannot
	hashes []uint32            // the subject hash of each of file.Certs
	hashed []bool              // false: its name has none
	passed int                 // certificates of a form that cannot be read
	rested bool
}

// Begin starts a look at the time now. What the last look did not use is
// forgotten.
func (c *Cache) Begin(now time.Time) {
	c.now, c.old, c.cur = now, c.cur, nil
}

func identOf(n durable.Node) ident {
	return ident{dev: n.Dev, ino: n.Ino, size: n.Size, mtime: n.Modified.UnixNano(), ctime: n.Changed.UnixNano()}
}

func (c *Cache) find(n durable.Node) *parsed {
	id := identOf(n)
	if p := c.cur[id]; p != nil {
		return p
	}
	p := c.old[id]
	if p == nil || !p.rested {
		return nil
	}
	c.put(id, p)
	return p
}

func (c *Cache) put(id ident, p *parsed) {
	if c.cur == nil {
		c.cur = map[ident]*parsed{}
	}
	c.cur[id] = p
}

// read gives the content of what n describes; the second value says why it
// could not be read. n must be a regular file.
func (c *Cache) read(n durable.Node) (*parsed, error) {
	if p := c.find(n); p != nil {
		return p, nil
	}
	r := durable.Read(n.Path, maxBundle)
	if r.Err != nil {
		return nil, r.Err
	}
	p := parse(r.Data)
	p.rested = !c.now.IsZero() && r.Changed.Add(restBeforeTrust).Before(c.now)
	c.put(identOf(r), p)
	return p, nil
}

func parse(data []byte) *parsed {
	p := &parsed{file: pki.ReadCertFile(data), digest: sum(data)}
	p.certs, p.passed = p.file.Certs, p.file.Passed
	for _, x := range p.file.Certs {
		h, err := pki.SubjectHash(x.RawSubject)
		p.hashes, p.hashed = append(p.hashes, h), append(p.hashed, err == nil)
	}
	return p
}

// with are the certificates of that subject hash, by the SHA-256 of their DER.
func (p *parsed) with(hash uint32) [][32]byte {
	var out [][32]byte
	for i, c := range p.file.Certs {
		if p.hashed[i] && p.hashes[i] == hash {
			out = append(out, sha256.Sum256(c.Raw))
		}
	}
	return out
}
