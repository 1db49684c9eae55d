package pki

import (
	"bytes"
	"encoding/base64"
	"errors"
)

// pemLine is how many octets of a line OpenSSL reads at a time; a longer line is read as several (LINESIZE in its
// pem_lib.c, less the NUL).
const pemLine = 254

// Errors of a PEM file, with OpenSSL's names.
var (
	errNoStart = errors.New("no start line") // PEM_R_NO_START_LINE: the end of the file
	errEnd     = errors.New("bad end line")  // PEM_R_BAD_END_LINE
	errBase64  = errors.New("bad base64")    // PEM_R_BAD_BASE64_DECODE
	errHeader  = errors.New("not proc type") // PEM_R_NOT_PROC_TYPE: a header of another kind
	byteMark   = []byte{0xef, 0xbb, 0xbf}    // the byte-order mark of UTF-8
	pemBegin   = []byte("-----BEGIN ")
	pemEnd     = []byte("-----END ")
	pemDashes  = []byte("-----")
	procType   = []byte("Proc-Type:")
	encryption = []byte("ENCRYPTED")
)

// block is one PEM block as PEM_read_bio(3) finds it.
type block struct {
	label      string
	header     []byte // with Proc-Type and the like; nil: none
	der        []byte
	start, end int // offsets of its text, from the BEGIN line to the end of the END line
}

// encrypted says whether the header asks for a passphrase.
func (b block) encrypted() bool { return len(b.header) > 0 && b.headerFault() == nil }

// headerFault is the error of PEM_get_EVP_CIPHER_INFO(3) for the header: only that of an encrypted block is accepted.
func (b block) headerFault() error {
	h, found := bytes.CutPrefix(b.header, procType)
	switch {
	case len(b.header) == 0 || b.header[0] == '\n':
		return nil
	case !found:
		return errHeader
	}
	h, found = bytes.CutPrefix(bytes.TrimLeft(h, " \t"), []byte("4,"))
	if !found || !bytes.HasPrefix(bytes.TrimLeft(h, " \t"), encryption) {
		return errHeader
	}
	return nil
}

// line is BIO_gets(3) of a file: at most pemLine octets, with the newline if there is one. A NUL ends it (fgets(3),
// strlen(3)), so a line that begins with a NUL looks like the end of the file.
func line(data []byte, pos int) (text []byte, next int) {
	rest := data[pos:]
	if len(rest) > pemLine {
		rest = rest[:pemLine]
	}
	if nl := bytes.IndexByte(rest, '\n'); nl >= 0 {
		rest = rest[:nl+1]
	}
	next = pos + len(rest)
	if nul := bytes.IndexByte(rest, 0); nul >= 0 {
		rest = rest[:nul]
	}
	return rest, next
}

// bare is the line without white space and control characters at its end.
func bare(text []byte) []byte {
	n := len(text)
	for n > 0 && (text[n-1] <= ' ' || text[n-1] >= 0x80) { // char has a sign on amd64 and i386
		n--
	}
	return text[:n]
}

// nextBlock reads the first block at or after pos. The error is errNoStart where there is none; any other error is for
// a broken block, whose start and label are in b.
func nextBlock(data []byte, pos int) (b block, next int, err error) {
	for first := true; ; first = false {
		if pos >= len(data) {
			return b, pos, errNoStart
		}
		b.start = pos
		var text []byte
		if text, pos = line(data, pos); len(text) == 0 {
			return b, len(data), errNoStart
		}
		if first && len(text) > len(byteMark) && bytes.HasPrefix(text, byteMark) {
			text, b.start = text[len(byteMark):], b.start+len(byteMark)
		}
		text = bare(text)
		if bytes.HasPrefix(text, pemBegin) && len(text) >= len(pemBegin)+len(pemDashes) &&
			bytes.HasSuffix(text, pemDashes) {
			b.label = string(text[len(pemBegin) : len(text)-len(pemDashes)])
			break
		}
	}
	var head, body []byte
	inHeader, posted, short, partial := false, false, false, false
	for {
		if pos >= len(data) {
			return b, pos, errEnd
		}
		var text []byte
		if text, pos = line(data, pos); len(text) == 0 {
			return b, pos, errEnd
		}
		before := partial
		partial = len(text) == pemLine && text[pemLine-1] != '\n'
		if !inHeader && !posted && bytes.IndexByte(text, ':') >= 0 {
			inHeader = true
		}
		text = bare(text)
		switch {
		case len(text) == 0 && before: // the rest of a long line is only its newline
		case len(text) == 0 && posted:
			return b, pos, errEnd
		case len(text) == 0:
			posted = true
		case bytes.HasPrefix(text, pemEnd):
			tail, found := bytes.CutPrefix(text[len(pemEnd):], []byte(b.label))
			if !found || !bytes.Equal(tail, pemDashes) {
				return b, pos, errEnd
			}
			if !posted && !inHeader {
				head, body = nil, head
			}
			b.header, b.end = head, pos
			if b.der, err = decode64(body); err == nil && len(b.der) == 0 {
				err = errBase64
			}
			return b, pos, err
		case short:
			return b, pos, errEnd
		case posted: // all lines but the last have 64 characters
			if len(text) > 64 {
				return b, pos, errEnd
			}
			short = len(text) < 64
			body = append(append(body, text...), '\n')
		default:
			head = append(append(head, text...), '\n')
		}
	}
}

// decode64 is EVP_DecodeUpdate(3): it skips blanks and line ends, and a hyphen ends the data.
func decode64(text []byte) ([]byte, error) {
	clean := make([]byte, 0, len(text))
	pad := 0
	if hyphen := bytes.IndexByte(text, '-'); hyphen >= 0 {
		text = text[:hyphen]
	}
	for _, c := range text {
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c == '=':
			pad++
		case pad > 0:
			return nil, errBase64
		}
		if pad > 2 {
			return nil, errBase64
		}
		clean = append(clean, c)
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(clean)))
	n, err := base64.StdEncoding.Decode(out, clean)
	if err != nil {
		return nil, errBase64
	}
	return out[:n], nil
}
