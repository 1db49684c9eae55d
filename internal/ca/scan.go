package ca

import (
	"bytes"
	"hash/fnv"
	"time"

	"mailcertd/internal/durable"
)

// line is a row of index.txt as the bytes that were read. It is good until the next one is read.
type line struct {
	n       int    // from 1
	at      int64  // where it begins in the file; scan alone knows
	text    []byte // without its line feed
	status  byte
	expires int64  // seconds since 1970
	serial  []byte // as FormatSerial writes it
	key     uint64 // of the serial, see serialKey
	subject []byte
	odd     *Entry // what parseRow says, where the row is not plain; nil: it is
}

// entry is the row as a value that stays.
func (l *line) entry() Entry {
	if l.odd != nil {
		return *l.odd
	}
	e := parseRow(string(l.text))
	e.Line, e.raw = l.n, string(l.text)
	return e
}

// lastKey is the greatest key: a keySet has no room for another one.
const lastKey = 1<<64 - 2

// upperHex is the value of a digit, in capitals; -1: it is not a digit.
var upperHex = func() (of [256]int8) {
	for i := range of {
		of[i] = -1
	}
	for i, c := range "0123456789ABCDEF" {
		of[c] = int8(i)
	}
	return of
}()

// serialKey stands for a serial: the number itself where it has 64 bits at most, as nearly all have, else a hash.
func serialKey[T string | []byte](serial T) uint64 {
	if len(serial) > 16 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(serial))
		return min(h.Sum64(), lastKey)
	}
	var key uint64
	for i := range len(serial) {
		d, _ := hexDigit(serial[i])
		key = key<<4 | uint64(d)
	}
	return min(key, lastKey)
}

// commonName is the CN in a subject; nil when it has none.
func commonName(subject []byte) []byte {
	if cn, ok := bytes.CutPrefix(subject, []byte("/CN=")); ok && bytes.IndexByte(cn, '/') < 0 {
		return cn // as nearly all are, and soon found
	}
	i := bytes.LastIndex(subject, []byte("/CN="))
	if i < 0 {
		return nil
	}
	cn, _, _ := bytes.Cut(subject[i+4:], []byte("/"))
	return cn
}

// plain reads a row in the form that openssl and mailcertd write, and says whether it has it: every other row is
// parseRow's, also one that openssl accepts.
func (l *line) plain(text []byte) bool {
	l.text, l.odd = text, nil
	if len(text) < 20 || text[1] != '\t' {
		return false
	}
	l.status = text[0]
	at := 15
	if text[at] != '\t' {
		if at = 17; text[at] != '\t' {
			return false
		}
	}
	var ok bool
	if l.expires, ok = readSeconds(text[2:at]); !ok {
		return false
	}
	rest := text[at+1:]
	switch l.status {
	case Valid, Expired:
		if rest[0] != '\t' {
			return false
		}
		rest = rest[1:]
	case Revoked:
		end := bytes.IndexByte(rest, '\t')
		if end < 0 {
			return false
		}
		date, reason, _ := bytes.Cut(rest[:end], []byte(","))
		if _, ok := readSeconds(date); !ok {
			return false
		}
		if _, known := reasonCodes[string(reason)]; !known && len(reason) > 0 {
			return false
		}
		rest = rest[end+1:]
	default:
		return false
	}
	end, digits := 0, uint64(0)
	for end < len(rest) && upperHex[rest[end]] >= 0 {
		digits = digits<<4 | uint64(upperHex[rest[end]])
		end++
	}
	if end == 0 || end%2 == 1 || end > 40 || end == len(rest) || rest[end] != '\t' ||
		end > 2 && rest[0] == '0' && rest[1] == '0' {
		return false // not as FormatSerial writes it
	}
	if l.serial, l.key = rest[:end], min(digits, lastKey); end > 16 {
		l.key = serialKey(l.serial)
	}
	rest = rest[end+1:]
	if end = bytes.IndexByte(rest, '\t'); end < 0 {
		return false
	}
	l.subject = rest[end+1:]
	return bytes.IndexByte(l.subject, '\t') < 0 && (len(l.subject) == 0 || l.subject[len(l.subject)-1] != '\r')
}

var lineFeed = []byte("\n")

// scan gives each row of an index.txt to take, until take says false. What is no row, or a torn one, is left out:
// readDatabase tells of those. Rows that cannot be read are given too, with odd.Err.
func scan(path string, take func(l *line) bool) durable.Node {
	n, at := 0, int64(0)
	var l line
	return durable.Blocks(path, maxIndex, func(block []byte) bool {
		for len(block) > 0 {
			text, rest, whole := bytes.Cut(block, lineFeed)
			n++
			l.at, at = at, at+int64(len(block)-len(rest))
			block = rest
			if l.read(text, n, whole) && !take(&l) {
				return false
			}
		}
		return true
	})
}

// read takes line n, and says whether it is a row.
func (l *line) read(text []byte, n int, whole bool) bool {
	l.n = n
	if l.plain(text) {
		return true
	}
	e, kind := readRow(string(text), n, whole)
	if kind != aRow {
		return false
	}
	l.odd, l.status, l.expires, l.serial, l.subject = &e, e.Status, e.Expires.Unix(), nil, []byte(e.Subject)
	if e.Err == nil {
		l.serial = []byte(e.serial())
		l.key = serialKey(l.serial)
	}
	return true
}

// readable says that the row can be read.
func (l *line) readable() bool { return l.odd == nil || l.odd.Err == nil }

// state is what became of the certificate by now: valid, expired or revoked.
func (l *line) state(now time.Time) string {
	switch {
	case l.status == Revoked:
		return "revoked"
	case l.status == Expired || now.After(time.Unix(l.expires, 0)):
		return "expired"
	}
	return "valid"
}
