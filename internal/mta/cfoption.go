package mta

import (
	"slices"
	"strings"
)

// optionNames are the long names of sendmail's options (op.me, section 5.6;
// 8.17 and 8.18). All are needed: an abbreviation counts when it is unique.
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

// optionLetters are the old one-letter names of those that matter here.
var optionLetters = map[byte]string{'O': "DaemonPortOptions"}

// optionName is the full name of an option that is written in any case or
// abbreviated, "" when there is none; ambiguous: several begin so.
func optionName(written string) (name string, ambiguous bool) {
	written, _, _ = strings.Cut(written, ".") // a suboption is ignored
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

// splitOption reads what follows an O: " Name=value", or a letter with its value. ok is false for what sendmail does
// not take for one of the options known here.
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

// lineOptions are the options of a command line, -O Name=value and -oXvalue, as
// O lines have them.
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

// ParseCF reads the option and macro lines of a sendmail.cf, as readcf() does.
// argv is the command line that goes with it, nil for none: an option given
// there stands, and the file's are ignored. A line that begins with white space
// goes on with the one before. The last value of an option counts;
// DaemonPortOptions adds up.
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

// uncommented cuts a comment off: from a # on that is not written \# or $#,
// with the white space before it.
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

// TLSFiles are all files and directories that cf names for TLS, none twice.
func (cf CF) TLSFiles() []string {
	all := slices.Concat(cf.ServerCert, cf.ServerKey, cf.ClientCert, cf.ClientKey,
		[]string{cf.CACert, cf.CACertPath, cf.DH, cf.CRL})
	all = slices.DeleteFunc(all, func(p string) bool { return !strings.HasPrefix(p, "/") })
	slices.Sort(all)
	return slices.Compact(all)
}
