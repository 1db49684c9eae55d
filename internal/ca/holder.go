package ca

import (
	"bytes"
	"crypto/x509"
	"path/filepath"
	"slices"

	"mailcertd/internal/pki"
)

// holder says to which host and pair a certificate belongs.
type holder struct {
	name   string // of the host
	key    x509.PublicKeyAlgorithm
	server bool // a server may show it; other certificates are for clients alone
	known  bool // its file was read
}

// pair says that two certificates of one host belong to the same pair, as far as is known. A host has one pair for each
// key type, and one for use as a client.
func (h *holder) pair(other *holder) bool {
	return !h.known || !other.known || h.key == other.key && h.server == other.server
}

// isHost says that a CN is a host name. Several hosts may have a CN such as "Mail server"; only the SAN in the
// certificate file tells them apart.
func isHost(cn []byte) bool {
	for _, c := range cn {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return bytes.IndexByte(cn, '.') >= 0
}

// opener reads the files of certificates to see who holds them.
type opener struct {
	dir  string // newcerts
	left int    // how many it may open yet; anyNumber
	// successors were read before: many certificates of a host have the same ones.
	successors map[string]*holder
}

// anyNumber sets an opener no bound.
const anyNumber = -1

// mostSuccessors is how many successors an opener remembers.
const mostSuccessors = 4096

// newOpener is for the CA in dir. It opens most files, or anyNumber.
func newOpener(dir string, most int) *opener {
	return &opener{dir: filepath.Join(dir, NewCertsDir), left: most, successors: map[string]*holder{}}
}

// spent says that it opens no more.
func (f *opener) spent() bool { return f.left == 0 }

// holder reads the certificate from newcerts. Where the file is gone, or no more may be opened, only the CN is known.
func (f *opener) holder(serial, cn string) *holder {
	if f.spent() {
		return &holder{name: cn}
	}
	if f.left > 0 {
		f.left--
	}
	if testOnlyOpened != nil {
		testOnlyOpened()
	}
	cs, err := readCerts(filepath.Join(f.dir, serial+".pem"))
	if err != nil || len(cs) == 0 {
		return &holder{name: cn}
	}
	c, h := cs[0], &holder{name: cn, known: true}
	if names := pki.CertNames(c); len(names) > 0 {
		h.name = names[0]
	}
	h.key = c.PublicKeyAlgorithm
	h.server = len(c.ExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
	return h
}

// testOnlyOpened is called for each file that an opener opens.
var testOnlyOpened func()

// successor is holder for a certificate that may have replaced many.
func (f *opener) successor(serial, cn string) *holder {
	if h := f.successors[serial]; h != nil {
		return h
	}
	h := f.holder(serial, cn)
	if len(f.successors) == mostSuccessors {
		clear(f.successors)
	}
	f.successors[serial] = h
	return h
}

// newest knows of many hosts which of their valid rows is the last. Each host has one cell, which it may share with
// others: the last of them is in it. So its size is bounded, and it knows of some hosts nothing.
type newest struct {
	files *opener
	cells []uint64 // the line, and above it what is left of the host's hash
	whole bool     // it has seen every row
}

const (
	mostCells = 1 << 18 // of a newest: it takes 2 MiB then
	lineBits  = 28      // of a cell: so many lines no index.txt has, see maxIndex
)

// noteNewest is nil where any number of files may be opened: it is not needed then.
func noteNewest(files *opener, rows int) *newest {
	if files.left == anyNumber {
		return nil
	}
	cells := 1
	for cells < min(rows, mostCells) {
		cells *= 2
	}
	return &newest{files: files, cells: make([]uint64, cells)}
}

// replaced says that a later row of that host is valid, once it has seen every row and no more files may be opened. It
// sees the rows before. hash is that of the host.
func (t *newest) replaced(l *line, host []byte, hash uint64, valid bool) bool {
	switch {
	case t == nil || t.whole && !t.files.spent():
		return false
	case t.whole:
		cell := t.cells[hash%uint64(len(t.cells))]
		return cell>>lineBits == hash>>lineBits && int(cell&(1<<lineBits-1)) > l.n && isHost(host)
	case valid:
		t.cells[hash%uint64(len(t.cells))] = hash>>lineBits<<lineBits | uint64(l.n)
	}
	return false
}

// complete says that it has seen every row.
func (t *newest) complete() {
	if t != nil {
		t.whole = true
	}
}
