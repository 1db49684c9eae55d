package mta

import (
	"slices"
	"strings"
)

// optionNames are the long names of all options of sendmail (op.me, section 5.6; 8.17 and 8.18). All of them are needed
// because an abbreviation is accepted when it is unique.
var optionNames = strings.Fields(`SevenBitInput EightBitMode AliasFile AliasWait BlankSub MinFreeBlocks
CheckpointInterval HoldExpensive DeliveryMode ErrorHeader ErrorMode TempFileMode SaveFromLine MatchGECOS HelpFile
MaxHopCount ResolverOptions IgnoreDots ForwardPath SendMimeErrors ConnectionCacheSize ConnectionCacheTimeout
UseErrorsTo LogLevel MeToo CheckAliases OldStyleHeaders DaemonPortOptions PrivacyOptions PostmasterCopy QueueFactor
QueueDirectory DontPruneRoutes Timeout StatusFile SuperSafe QueueTimeout TimeZoneSpec UserDatabaseSpec DefaultUser
FallbackMXhost Verbose TryNullMXList QueueLA RefuseLA RecipientFactor ForkEachJob ClassFactor RetryFactor
QueueSortOrder HostsFile MinQueueAge DefaultCharSet ServiceSwitchFile DialDelay NoRecipientAction SafeFileEnvironment
MaxMessageSize ColonOkInAddr MaxQueueRunSize MaxDaemonChildren DontExpandCnames MustQuoteChars SmtpGreetingMessage
UnixFromLine OperatorChars DontInitGroups SingleLineFromHeader AllowBogusHELO ConnectionRateThrottle UnsafeGroupWrites
DoubleBounceAddress HostStatusDirectory SingleThreadDelivery RunAsUser RrtImpliesDsn PidFile DontBlameSendmail
DontProbeInterfaces MaxRecipientsPerMessage DeadLetterDrop MaxAliasRecursion ConnectOnlyTo TrustedUser
MaxMimeHeaderLength ControlSocketName MaxHeadersLength ProcessTitlePrefix DefaultAuthInfo AuthMechanisms
ClientPortOptions DataFileBufferSize XscriptFileBufferSize LDAPDefaultSpec ServerCertFile ServerKeyFile ClientCertFile
ClientKeyFile CACertFile CACertPath DHParameters InputMailFilters Milter AuthOptions QueueFileMode
CertFingerprintAlgorithm CipherList RandFile TLSSrvOptions BadRcptThrottle DeliverByMin MaxQueueChildren
MaxRunnersPerQueue DirectSubmissionModifiers NiceQueueRun SharedMemoryKey AuthMaxBits MailboxDatabase UseMSP DelayLA
FastSplit SoftBounce SharedMemoryKeyFile RejectLogInterval RequiresDirfsync ConnectionRateWindowSize CRLFile
FallbackSmartHost AuthRealm CRLPath HeloName MaxNOOPCommands BadRcptShutdown BadRcptShutdownGood ServerSSLOptions
ClientSSLOptions MaxQueueAge RejectNUL UseCompressedIPv6Addresses SSLEngine SSLEnginePath TLSFallbacktoClear
SetCertAltnames SmtpUTF8 StrictTransportSecurity CipherSuites`)

// optionLetters are the old one-letter names of the options that mailcertd reads.
var optionLetters = map[byte]string{'O': "DaemonPortOptions"}

// optionName is the full name of an option that may be abbreviated or in another case; "" where there is none.
// ambiguous says that several names begin so.
func optionName(written string) (name string, ambiguous bool) {
	written, _, _ = strings.Cut(written, ".") // sendmail ignores a suboption
	lower := strings.ToLower(written)
	for _, o := range optionNames {
		if strings.EqualFold(o, written) {
			return o, false
		}
		if strings.HasPrefix(strings.ToLower(o), lower) {
			ambiguous = ambiguous || name != ""
			name = o
		}
	}
	if ambiguous {
		return "", true
	}
	return name, false
}

// splitOption parses the text after an O: " Name=value", or a letter and its value. ok is false for an option that is
// not known here.
func (cf *CF) splitOption(text string) (name, value string, ok bool) {
	if text == "" {
		return "", "", false
	}
	if text[0] != ' ' {
		name, ok = optionLetters[text[0]]
		return name, text[1:], ok
	}
	written, value, _ := strings.Cut(text[1:], "=")
	written = strings.TrimRight(written, " ")
	name, ambiguous := optionName(written)
	if ambiguous {
		cf.Problems = append(cf.Problems, "the option name "+written+" is ambiguous: sendmail ignores the line")
	}
	return name, strings.TrimLeft(value, " "), name != ""
}

// lineOptions returns the options of a command line, -O Name=value and -oXvalue, in the form of O lines.
func lineOptions(argv []string) []string {
	var out []string
	for _, a := range words(argv) {
		if text, ok := strings.CutPrefix(a, "-O"); ok && text != "" {
			out = append(out, " "+text)
		} else if text, ok := strings.CutPrefix(a, "-o"); ok && text != "" {
			out = append(out, text)
		}
	}
	return out
}

// ParseCF parses the option and macro lines of a sendmail.cf, as readcf() does. argv is the command line of sendmail,
// nil for none; its options replace those of the file. A line that begins with white space continues the line before.
// The last value of an option counts; each DaemonPortOptions adds a listener.
func ParseCF(data []byte, argv ...string) CF {
	cf := CF{PidFile: DefaultPidFile}
	m := hostMacros()
	sticky := map[string]bool{}
	for _, text := range lineOptions(argv) {
		if name, value, ok := cf.splitOption(text); ok {
			sticky[name] = true
			cf.option(name, value, m)
		}
	}
	for _, line := range logicalLines(string(data)) {
		switch {
		case strings.HasPrefix(line, "D"):
			m.define(uncommented(line[1:]))
		case strings.HasPrefix(line, "K"):
			if text, class := accessText(m.expand(uncommented(line[1:]))); class != "" {
				cf.Access, cf.AccessClass = text, class
			}
		case strings.HasPrefix(line, "O"):
			if name, value, ok := cf.splitOption(uncommented(line[1:])); ok && !sticky[name] {
				cf.option(name, value, m)
			}
		}
	}
	cf.namePairs()
	if len(cf.Listeners) == 0 {
		cf.Listeners = []Listener{{Family: "inet", Port: "smtp"}}
	}
	return cf
}

// uncommented removes a comment and the white space before it. A comment begins with a # that is not written as \# or
// $#.
func uncommented(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '#':
			b.WriteByte('#')
			i++
		case s[i] == '#' && (i == 0 || s[i-1] != '$'):
			return strings.TrimRight(b.String(), " \t")
		default:
			b.WriteByte(s[i])
		}
	}
	return strings.TrimRight(b.String(), " \t")
}

// tlsFiles returns all files and directories that the cf names for TLS, each once.
func (cf CF) tlsFiles() []string {
	all := slices.Concat(cf.ServerCert, cf.ServerKey, cf.ClientCert, cf.ClientKey,
		[]string{cf.CACert, cf.CACertPath, cf.DH, cf.CRL})
	all = slices.DeleteFunc(all, func(p string) bool { return !strings.HasPrefix(p, "/") })
	slices.Sort(all)
	return slices.Compact(all)
}
