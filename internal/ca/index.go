package ca

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// The statuses of a row in index.txt, openssl-ca(1).
const (
	Valid   = 'V'
	Revoked = 'R'
	Expired = 'E' // set by `openssl ca -updatedb` alone
)

// Entry is one row of index.txt. A row that cannot be understood has Err set
// and keeps its text: it is written back as it was.
type Entry struct {
	Status  byte
	Expires time.Time
	Revoked time.Time // zero unless Status is Revoked
	Reason  string    // what stands after the revocation date, such as keyCompromise
	Serial  *big.Int
	File    string // a file name, or the word unknown
	Subject string // as pki.OneLine has it
	Line    int    // from 1
	Err     error

	raw     string // the row as it was read, without its line feed
	text    string // its serial as it was read, when that is as FormatSerial writes it
	refused string // why `openssl ca` refuses the whole index.txt because of it; "": it does not
}

// errCut is what is left of a revoked row.
var errCut = errors.New("is cut off, and began with R: somebody was revoked")

// ParseIndex reads index.txt: six fields separated by tabs. torn says that the
// last row lacks its line feed and cannot be read: an interrupted write. Such
// a row is not among the entries, unless it was a revocation: nobody appends
// those.
func ParseIndex(data []byte) (rows []Entry, torn bool) {
	text := string(data)
	most := strings.Count(text, "\n") + 1
	all := make([]Entry, most)
	if most < manyRows {
		return parseRows(all[:0], text, 0)
	}
	// A large one in two halves, side by side. No row has two lines.
	half := strings.LastIndexByte(text[:len(text)/2], '\n') + 1
	before := strings.Count(text[:half], "\n")
	var first []Entry
	done := make(chan struct{})
	go func() {
		defer close(done)
		first, _ = parseRows(all[:0:before], text[:half], 0)
	}()
	second, torn := parseRows(all[before:before], text[half:], before)
	<-done
	if len(first) == before { // as it is without blank lines and remarks
		return all[:before+len(second)], torn
	}
	return append(first, second...), torn
}

// manyRows are worth a second processor.
const manyRows = 2000

// parseRows appends the rows of text to rows, which has room for one a line;
// so many lines come before it.
func parseRows(rows []Entry, text string, before int) (_ []Entry, torn bool) {
	room := strings.Count(text, "\n") + 1
	small := serials{ints: make([]big.Int, room), words: make([]big.Word, room)}
	for n := before + 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		e := parseRow(strings.TrimSuffix(line, "\r"), &small)
		e.Line, e.raw = n, line
		if !whole && e.Err != nil {
			if !strings.HasPrefix(line, string(Revoked)) {
				return rows, true
			}
			e.Err = errCut
		}
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rows = append(rows, e)
	}
	return rows, false
}

func parseRow(line string, small *serials) Entry {
	var f [6]string
	rest, n := line, 0
	for more := true; more; n++ {
		var field string
		if field, rest, more = strings.Cut(rest, "\t"); n < len(f) {
			f[n] = field
		}
	}
	if n != len(f) {
		return Entry{Err: fmt.Errorf("has %d fields, want 6", n)}
	}
	e := Entry{File: f[4], Subject: f[5]}
	if len(f[0]) != 1 || !strings.Contains("VRE", f[0]) {
		return Entry{Err: fmt.Errorf("status %q, want V, R or E", f[0])}
	}
	e.Status = f[0][0]
	var err error
	if e.Expires, err = parseTime(f[1]); err != nil {
		return Entry{Err: fmt.Errorf("expiry date: %w", err)}
	}
	if e.Status == Revoked {
		date, reason, _ := strings.Cut(f[2], ",")
		if e.Revoked, err = parseTime(date); err != nil {
			return Entry{Err: fmt.Errorf("revocation date: %w", err)}
		}
		e.Reason = reason
		if word, _, _ := strings.Cut(reason, ","); !opensslReason(word) {
			e.refused = fmt.Sprintf("%q is no reason for a revocation", clip(word))
		}
	} else if f[2] != "" {
		return Entry{Err: errors.New("has a revocation date and is not revoked")}
	}
	if e.Serial = small.parse(f[3]); e.Serial == nil {
		if e.Serial, err = parseSerial(f[3]); err != nil {
			return Entry{Err: err}
		}
	}
	if canonicalSerial(f[3]) {
		e.text = f[3]
	} else if len(f[3])%2 == 1 {
		e.refused = fmt.Sprintf("the serial number %q wants an even number of digits", f[3])
	}
	return e
}

// opensslReason says that openssl knows the word, openssl-ca(1).
func opensslReason(word string) bool {
	_, known := Reasons()[word]
	return known || word == "" || opensslWords[word] != 0
}

// opensslWords are the words in index.txt beside those of Reasons, with their
// codes (RFC 5280 5.3.1).
var opensslWords = map[string]int{"holdInstruction": 6, "keyTime": 1, "CAkeyTime": 2, "removeFromCRL": 8}

// names is the serial, as FormatSerial writes it, of a row that cannot be read
// otherwise; "" when it says none.
func (e Entry) names() string {
	f := strings.Split(e.raw, "\t")
	if len(f) < 5 { // a serial that no tab follows may be a part of one
		return ""
	}
	n, err := parseSerial(f[3])
	if err != nil {
		return ""
	}
	return FormatSerial(n)
}

// serials holds the small serial numbers of an index in one piece each.
type serials struct {
	ints  []big.Int
	words []big.Word
}

// parse takes a serial of at most seven digits; nil is for parseSerial.
func (s *serials) parse(text string) *big.Int {
	if len(text) == 0 || len(text) > 7 || len(s.ints) == 0 {
		return nil
	}
	var w big.Word
	for _, c := range []byte(text) {
		d, ok := hexDigit(c)
		if !ok {
			return nil
		}
		w = w<<4 | big.Word(d)
	}
	n := &s.ints[0]
	s.words[0] = w
	n.SetBits(s.words[:1:1])
	s.ints, s.words = s.ints[1:], s.words[1:]
	return n
}

// serial is the row's serial as FormatSerial writes it.
func (e *Entry) serial() string {
	if e.text != "" {
		return e.text
	}
	return FormatSerial(e.Serial)
}

// parseTime takes YYMMDDHHMMSSZ (1950 to 2049, RFC 5280 4.1.2.5.1) and
// YYYYMMDDHHMMSSZ.
func parseTime(s string) (time.Time, error) {
	bad := func() (time.Time, error) { return time.Time{}, fmt.Errorf("%q is no date of index.txt", clip(s)) }
	if len(s) != 13 && len(s) != 15 || s[len(s)-1] != 'Z' {
		return bad()
	}
	var d [7]int // pairs of digits
	pairs := d[:len(s)/2]
	for i := range pairs {
		hi, lo := s[2*i]-'0', s[2*i+1]-'0'
		if hi > 9 || lo > 9 {
			return bad()
		}
		pairs[i] = int(hi)*10 + int(lo)
	}
	year := pairs[0]
	if rest := pairs[1:]; len(s) == 15 {
		year = 100*year + pairs[1]
		pairs = rest
	} else if year += 1900; year < 1950 {
		year += 100
	}
	t := time.Date(year, time.Month(pairs[1]), pairs[2], pairs[3], pairs[4], pairs[5], 0, time.UTC)
	if t.Month() != time.Month(pairs[1]) || t.Day() != pairs[2] || t.Hour() != pairs[3] || t.Minute() != pairs[4] || t.Second() != pairs[5] {
		return bad() // such as the 31st of February
	}
	return t, nil
}

func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		return t.Format("060102150405Z")
	}
	return t.Format("20060102150405Z")
}

// parseSerial takes hexadecimal digits, 40 at most (20 octets, RFC 5280 4.1.2.2).
func parseSerial(s string) (*big.Int, error) {
	n, ok := new(big.Int), s != "" && len(s) <= 40
	var small uint64
	for _, c := range []byte(s) {
		d, hex := hexDigit(c)
		ok = ok && hex
		small = small<<4 | uint64(d)
	}
	if ok && len(s) <= 16 {
		return n.SetUint64(small), nil
	}
	if ok {
		_, ok = n.SetString(s, 16)
	}
	if !ok {
		return nil, fmt.Errorf("%q is no serial number: want up to 40 hexadecimal digits", clip(s))
	}
	return n, nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// FormatSerial writes a serial as openssl does in its files: upper case, an
// even number of digits.
func FormatSerial(n *big.Int) string {
	s := fmt.Sprintf("%X", n)
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// row is the text of an entry.
func (e Entry) row() string {
	if e.raw != "" {
		return e.raw
	}
	revoked := ""
	if e.Status == Revoked {
		revoked = formatTime(e.Revoked)
		if e.Reason != "" {
			revoked += "," + e.Reason
		}
	}
	return strings.Join([]string{string(e.Status), formatTime(e.Expires), revoked, FormatSerial(e.Serial), e.File, e.Subject}, "\t")
}

// formatIndex writes every row, those that were read byte for byte.
func formatIndex(rows []Entry) []byte {
	var b bytes.Buffer
	for _, e := range rows {
		b.WriteString(e.row() + "\n")
	}
	return b.Bytes()
}

// commonName is the CN in a row's subject, "" when it has none.
func (e *Entry) commonName() string {
	if cn, ok := strings.CutPrefix(e.Subject, "/CN="); ok && strings.IndexByte(cn, '/') < 0 {
		return cn // as nearly all are, and soon found
	}
	i := strings.LastIndex(e.Subject, "/CN=")
	if i < 0 {
		return ""
	}
	cn, _, _ := strings.Cut(e.Subject[i+4:], "/")
	return cn
}
