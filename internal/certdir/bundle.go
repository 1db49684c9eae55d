package certdir

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// ErrDangling says that a link in a directory of CAs leads nowhere: its file is
// being replaced, or is gone.
var ErrDangling = errors.New("is a dangling link")

// Bundle is what a file or a directory of certificates holds.
type Bundle struct {
	Path  string
	Certs []*x509.Certificate // each once, in the order of files and names
	// Changed is when the file, or the directory or anything in it, last changed
	// (ctime); zero when nothing is there.
	Changed time.Time
	Passed  int // certificates and DER files that cannot be read, and are skipped
	// Err is set when nothing is there, or something of it cannot be read now: a
	// part may be missing from Certs. fs.ErrNotExist when nothing is there.
	Err error
}

// Bundle reads the certificates of a PEM file, or of every PEM file in a directory. Links are followed, such as
// certctl(8)'s and c_rehash's; folders in the directory are not entered. Files in a directory that hold no certificate
// (a README, a CRL) are skipped.
func (c *Reader) Bundle(path string) Bundle {
	b := Bundle{Path: path}
	n := durable.Stat(path)
	b.Changed = n.Changed
	seen := map[[32]byte]bool{}
	switch {
	case n.Err != nil:
		b.Err = n.Err
	case !n.Exists:
		b.Err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case n.IsDir:
		c.directory(&b, seen)
	case n.IsRegular:
		p, err := c.read(n)
		if err == nil && p.file.Err != nil && !errors.Is(p.file.Err, pki.ErrUnsupported) &&
			!errors.Is(p.file.Err, pki.ErrRefused) {
			err = fmt.Errorf("%s: %w", path, p.file.Err)
		}
		if b.Err = err; err == nil {
			b.add(p, seen)
		}
	default:
		b.Err = fmt.Errorf("%s: %w", path, durable.ErrNotRegular)
	}
	return b
}

func (c *Reader) directory(b *Bundle, seen map[[32]byte]bool) {
	names, err := entries(b.Path)
	if err != nil {
		b.Err = err
		return
	}
	if len(names) >= maxEntries {
		b.Err = fmt.Errorf("%s: contains more than %d names", b.Path, maxEntries)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		n := durable.Stat(filepath.Join(b.Path, name))
		if n.Changed.After(b.Changed) {
			b.Changed = n.Changed
		}
		switch {
		case n.Err != nil:
			b.Err = n.Err
			continue
		case !n.Exists: // a link whose file is being replaced, or is gone
			if b.Err == nil {
				b.Err = fmt.Errorf("%s: %w", n.Path, ErrDangling)
			}
			continue
		case !n.IsRegular:
			continue
		}
		p, err := c.read(n)
		switch {
		case err != nil:
			b.Err = err
		case p.file.Err == nil, errors.Is(p.file.Err, pki.ErrUnsupported), errors.Is(p.file.Err, pki.ErrRefused):
			b.add(p, seen)
		case errors.Is(p.file.Err, pki.ErrDER):
			b.Passed++
		case errors.Is(p.file.Err, pki.ErrGarbage):
		default: // empty or cut short: somebody may be writing it
			b.Err = fmt.Errorf("%s: %w", n.Path, p.file.Err)
		}
	}
}

func (b *Bundle) add(p *parsed, seen map[[32]byte]bool) {
	b.Passed += p.passed
	for _, x := range p.certs {
		if id := sha256.Sum256(x.Raw); !seen[id] {
			seen[id] = true
			b.Certs = append(b.Certs, x)
		}
	}
}
