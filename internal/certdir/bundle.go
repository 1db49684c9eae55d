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

// ErrDangling says that a symbolic link in a directory of CAs leads to no file: the file was removed, or is being
// replaced.
var ErrDangling = errors.New("is a dangling link")

// Bundle is the content of a file or a directory of certificates.
type Bundle struct {
	Path  string
	Certs []*x509.Certificate // each once, in the order of files and names
	// Changed is the newest ctime of the file, or of the directory and everything in it; zero where nothing exists.
	Changed time.Time
	Passed  int // how many certificates and DER files were skipped because they cannot be parsed
	// Err is fs.ErrNotExist where nothing exists, or why a part could not be read, which may then be missing from
	// Certs.
	Err error
}

// Bundle reads the certificates of a PEM file, or of every PEM file in a directory. It follows links, such as those of
// certctl(8) and c_rehash, but does not enter subdirectories. It skips files of a directory that hold no certificate,
// such as a README or a CRL.
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
		case !n.Exists: // a dangling link
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
		default: // empty or cut short: another program may be writing it
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
