# Reads apt's source files, one-line (.list) and deb822 (.sources), and writes the deb822 entries
# of a newer Debian release on the same mirrors: same URIs, same keyring, same trust options.
#
#   awk -v release=trixie -v codename=bookworm [-v now=20260131T000000Z] -f newer-release.awk FILE...
#
# `codename` is the release this machine runs: a keyring named after it is replaced by the newer
# release's. With `now`, the time stamp in the path of a snapshot mirror becomes this one.

function reset() { types = uris = suites = components = options = ""; enabled = "yes"; field = "" }

# The suites of the newer release that stand for one suite of the system; "" for a foreign one.
function newer(suite) {
	if (suite ~ /^(bullseye|bookworm|trixie|forky|(old)*stable|testing|unstable|sid)$/)
		return release " " release "-backports"
	if (suite ~ /^(bullseye|bookworm|trixie|forky|(old)*stable|testing)-security$/)
		return release "-security"
	return ""
}

function keyring(value,    path) {
	path = value
	if (codename != "" && gsub(codename, release, path) && (getline line < path) >= 0) {
		close(path)
		return path
	}
	return value
}

function flush(    word, i, n, out) {
	if (types ~ /(^| )deb( |$)/ && enabled !~ /^(no|false|off|0)$/ && components ~ /(^| )main( |$)/) {
		n = split(suites, word, /[ \t]+/)
		for (i = 1; i <= n; i++) {
			out = newer(word[i])
			if (out == "" || seen[uris, out]++) continue
			if (now != "") gsub(/[0-9]+T[0-9]+Z/, now, uris)
			printf "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n", uris, out
			printf "Architectures: amd64\nTargets: Packages\n%s\n", options
		}
	}
	reset()
}

# One option of an entry. What only narrows or widens what is downloaded is ours to decide.
function option(name, value) {
	if (name ~ /^(arch|architectures|lang|languages|target|targets|pdiffs|snapshot|description)[+-]?$/ || name ~ /^x-/)
		return
	if (name == "signed-by") value = keyring(value)
	options = options name ": " value "\n"
}

BEGIN { reset() }
FNR == 1 { flush(); deb822 = FILENAME ~ /\.sources$/ }
/^[ \t]*#/ { next }

!deb822 {
	sub(/#.*/, "")
	if ($1 != "deb") next
	types = "deb"
	at = 2
	if ($2 ~ /^\[/) {
		text = $0
		sub(/^[^[]*\[/, "", text)
		sub(/\].*/, "", text)
		n = split(text, pair, /[ \t]+/)
		for (i = 1; i <= n; i++) {
			equals = index(pair[i], "=")
			if (equals) option(tolower(substr(pair[i], 1, equals - 1)), substr(pair[i], equals + 1))
		}
		while (at <= NF && $at !~ /\]$/) at++
		at++
	}
	uris = $at
	suites = $(at + 1)
	for (i = at + 2; i <= NF; i++) components = components $i " "
	flush()
	next
}

/^[ \t]*$/ { flush(); next }
/^[ \t]/ {	# the field goes on: a list of words, or an embedded key
	if (field == "uris") uris = uris " " $0
	else if (field == "suites") suites = suites " " $0
	else if (field == "components") components = components " " $0
	else if (field == "signed-by") options = options $0 "\n"
	next
}
{
	colon = index($0, ":")
	field = tolower(substr($0, 1, colon - 1))
	value = substr($0, colon + 1)
	gsub(/^[ \t]+|[ \t\r]+$/, "", value)
	if (field == "types") types = value
	else if (field == "uris") uris = value
	else if (field == "suites") suites = value
	else if (field == "components") components = value
	else if (field == "enabled") enabled = tolower(value)
	else option(field, value)
}
END { flush() }
