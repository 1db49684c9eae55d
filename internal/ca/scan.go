package ca

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"time"

	"mailcertd/internal/durable"
)

// line is a row of index.txt. Its slices are valid until the next row is read.
type line struct {
	n       int    // from 1
	at      int64  // its offset in the file; only scan sets it
	text    []byte // without its line feed
	status  byte
	expires int64  // seconds since 1970
	serial  []byte // in the form of FormatSerial
	key     uint64 // of the serial, see serialKey
	subject []byte
	named   bool   // cn is set
	cn      []byte // see host
	odd     *Entry // the result of parseRow for a row that plain does not read; nil: plain has read it
}

// entry is a copy of the row, which stays valid.
func (l *line) entry() Entry {
	if l.odd != nil {
		return *l.odd
	}
	e := parseRow(string(l.text))
	e.Line, e.raw = l.n, string(l.text)
	return e
}

// upperHex is the value of a hexadecimal digit in upper case; -1: not such a digit.
var upperHex = func() (of [256]int8) {
	for i := range of {
		of[i] = -1
	}
	for i, c := range "0123456789ABCDEF" {
		of[c] = int8(i)
	}
	return of
}()

// serialKey is the serial as a number where it has at most 64 bits, as nearly all serials have, and a hash of it
// otherwise.
func serialKey[T string | []byte](serial T) uint64 {
	if len(serial) > 16 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(serial))
		return h.Sum64()
	}
	var key uint64
	for i := range len(serial) {
		d, _ := hexDigit(serial[i])
		key = key<<4 | uint64(d)
	}
	return key
}

// commonName is the CN in a subject; nil where there is none.
func commonName(subject []byte) []byte {
	if cn, ok := bytes.CutPrefix(subject, soleName); ok && bytes.IndexByte(cn, '/') < 0 {
		return cn // found without a search from the end
	}
	i := bytes.LastIndex(subject, []byte("/CN="))
	if i < 0 {
		return nil
	}
	cn, _, _ := bytes.Cut(subject[i+4:], []byte("/"))
	return cn
}

// host identifies the rows of one host: their CN in lower case. It is empty where there is no CN. The line keeps it,
// because more than one question of a pass asks for it.
func (l *line) host() []byte {
	if !l.named {
		l.named, l.cn = true, lowered(commonName(l.subject))
	}
	return l.cn
}

// lowered is cn in lower case: cn itself where it has neither an upper-case letter nor one outside ASCII.
func lowered(cn []byte) []byte {
	for _, c := range cn {
		if c >= 'A' && c <= 'Z' || c >= 0x80 {
			return bytes.ToLower(cn)
		}
	}
	return cn
}

// usual says that cn has at least eight octets and that each is printable ASCII, but neither a slash nor one of 0x40 to
// 0x5F, among which are the capital letters. Names of hosts are so. It handles eight at once, as readHex does.
func usual(cn []byte) bool {
	const each = 0x0101010101010101
	const bit7, bit6, slashes = 0x80 * each, 0x40 * each, '/' * each
	if len(cn) < 8 {
		return false
	}
	for at := 0; ; at = min(at+8, len(cn)-8) { // the last eight may overlap the ones before
		eight := binary.LittleEndian.Uint64(cn[at:])
		slash := eight ^ slashes // an octet is 0 where a slash was
		if eight&bit7|(slash-each)&^slash&bit7|eight&^(eight<<1)&bit6 != 0 || (eight|eight<<1)&bit6 != bit6 {
			return false
		}
		if at == len(cn)-8 {
			return true
		}
	}
}

// plain parses a row in the form that openssl and mailcertd write. It returns false for every other row, also for one
// that openssl accepts: parseRow decides about those.
func (l *line) plain(text []byte) bool {
	l.text, l.odd, l.named = text, nil, false
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
	for len(rest) >= end+8 && end < 16 {
		eight, ok := readHex(rest[end:])
		if !ok {
			break
		}
		digits, end = digits<<32|eight, end+8
	}
	for end < len(rest) && upperHex[rest[end]] >= 0 {
		digits = digits<<4 | uint64(upperHex[rest[end]])
		end++
	}
	if end == 0 || end%2 == 1 || end > 40 || end == len(rest) || rest[end] != '\t' ||
		end > 2 && rest[0] == '0' && rest[1] == '0' {
		return false // not the form of FormatSerial
	}
	if l.serial, l.key = rest[:end], digits; end > 16 {
		l.key = serialKey(l.serial)
	}
	rest = rest[end+1:]
	subject, found := bytes.CutPrefix(rest, unknownFile) // openssl-ca(1) writes no other
	if !found {
		if end = bytes.IndexByte(rest, '\t'); end < 0 {
			return false
		}
		subject = rest[end+1:]
	}
	l.subject = subject
	if cn, found := bytes.CutPrefix(subject, soleName); found && usual(cn) {
		l.named, l.cn = true, cn
		return true
	}
	return bytes.IndexByte(l.subject, '\t') < 0 && (len(l.subject) == 0 || l.subject[len(l.subject)-1] != '\r')
}

// readHex parses the first eight octets of s as hexadecimal digits in upper case. ok is false where one of them is not
// such a digit. It handles all eight at once, because a scan of a large index.txt parses a serial in each row.
func readHex(s []byte) (n uint64, ok bool) {
	const each = 0x0101010101010101
	eight := binary.LittleEndian.Uint64(s)
	letters := eight >> 6 & each
	values := eight&(0x0f*each) + 9*letters
	over9 := (values + 6*each) >> 4 & each // 1 for each value from 10 on
	if values&(0xf0*each) != 0 || eight != values+0x30*each+7*over9 {
		return 0, false
	}
	values = (values<<4 | values>>8) & 0x00ff00ff00ff00ff
	values = (values | values>>8) & 0x0000ffff0000ffff
	return uint64(bits.ReverseBytes32(uint32(values | values>>16))), true
}

var (
	lineFeed    = []byte("\n")
	unknownFile = []byte("unknown\t")
	soleName    = []byte("/CN=") // where nothing else is in a subject
)

// scan calls take with each row of an index.txt until take returns false. It skips empty lines, comments and a torn
// last row, about which readDatabase reports. Rows that cannot be parsed are passed too, with odd.Err set.
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

// read parses line n, and says whether it is a row. whole means that the line has its line feed.
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

// readable says whether the row could be parsed.
func (l *line) readable() bool { return l.odd == nil || l.odd.Err == nil }

// validAt says that the certificate is neither revoked nor expired at now.
func (l *line) validAt(now time.Time) bool { return l.status == Valid && !l.past(now) }

// past says that the certificate's last second is over at now.
func (l *line) past(now time.Time) bool {
	second := now.Unix()
	return l.expires < second || l.expires == second && now.Nanosecond() > 0
}

// state is the state of the certificate at now: valid, expired or revoked.
func (l *line) state(now time.Time) string {
	switch {
	case l.status == Revoked:
		return "revoked"
	case l.status == Expired || l.past(now):
		return "expired"
	}
	return "valid"
}
