package mta

import (
	"fmt"
	"slices"
	"strings"

	"mailcertd/internal/durable"
)

// maxAccess bounds the text of an access map, in octets.
const maxAccess = 16 << 20

// AccessMap is what sendmail's access map says about certificates (cf/README, "STARTTLS").
type AccessMap struct {
	Path string // the text that makemap(8) reads; "": the cf names no map with such a text
	Err  error  // why it could not be read; nil also where there is none
	// Unseen is why its rules cannot be known: it is of a class without a text, such as ldap, or the text is gone. "":
	// Rules are all of them, unless Err is set.
	Unseen string
	Rules  []AccessRule // those about certificates, in their order
}

// AccessRule is a line of an access map about certificates.
type AccessRule struct {
	Line  int
	Tag   string // CERTIssuer or CERTSubject
	Key   string // the distinguished name, in the form of AccessKey; makemap(8) folds its case
	Value string // such as RELAY or SUBJECT
}

// accessTags are the tags of rules about certificates.
var accessTags = []string{"CERTIssuer", "CERTSubject"}

// textMaps are the classes of maps that makemap(8) makes from a text of the same name, and that of the text itself.
var textMaps = []string{"hash", "btree", "cdb", "dbm", "lmdb", "text"}

// accessText is the text of the access map that a K line defines, without its K; "": it defines another map, or, with
// a class, an access map of a class without a text, such as ldap.
func accessText(line string) (text, class string) {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "access" {
		return "", ""
	}
	last := words[len(words)-1]
	if !slices.Contains(textMaps, words[1]) || len(words) < 3 || !strings.HasPrefix(last, "/") {
		return "", words[1]
	}
	for _, end := range databaseEnds {
		last = strings.TrimSuffix(last, end)
	}
	return last, words[1]
}

// databaseEnds end the names of the files that makemap(8) makes.
var databaseEnds = []string{".db", ".cdb", ".lmdb", ".pag"}

// ReadAccess reads the rules about certificates of the access map that a cf names.
func ReadAccess(cf CF) AccessMap {
	m := AccessMap{Path: cf.Access}
	if m.Path == "" {
		if cf.AccessClass != "" {
			m.Unseen = "it is of the class " + cf.AccessClass
		}
		return m
	}
	n := durable.Read(m.Path, maxAccess)
	m.Err, m.Rules = n.Err, accessRules(string(n.Data))
	for _, end := range databaseEnds {
		if n.Kind == durable.Missing && n.Err == nil && durable.Look(m.Path+end).Exists {
			m.Unseen = "the text of " + m.Path + end + " does not exist"
		}
	}
	return m
}

func accessRules(text string) (rules []AccessRule) {
	at := 0
	for line := range strings.SplitSeq(text, "\n") {
		at++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		tag, key, found := strings.Cut(words[0], ":")
		i := slices.IndexFunc(accessTags, func(t string) bool { return strings.EqualFold(t, tag) })
		if !found || i < 0 {
			continue
		}
		rules = append(rules, AccessRule{Line: at, Tag: accessTags[i], Key: key, Value: strings.Join(words[1:], " ")})
	}
	return rules
}

// AccessKey turns a distinguished name in openssl's one-line form into the text that follows CERTIssuer: and
// CERTSubject: in an access map. That is the value of ${cert_issuer} and ${cert_subject}, in which white space,
// non-printable characters and + \ ( ) < > " are written as + and two hexadecimal digits (cf/README, "STARTTLS";
// sendmail's xtext). sendmail cuts names to 255 octets before it encodes them.
func AccessKey(oneLine string) string {
	const most = 255
	if len(oneLine) > most {
		oneLine = oneLine[:most]
	}
	var b strings.Builder
	for _, c := range []byte(oneLine) {
		if c < '!' || c > '~' || strings.IndexByte(`+\()<>"`, c) >= 0 {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
