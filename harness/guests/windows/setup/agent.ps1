# A guest agent on COM2 for images without QEMU's own: the commands of QEMU's guest agent protocol that Misfire
# uses. It runs as SYSTEM from a task at start-up, with Windows PowerShell 2 or newer (.NET 3.5 for JSON); or it
# is typed in at a PowerShell that reads commands from the port: then $MisfirePort is that open port, or the
# console is. It has not been run on a Windows yet.

$ErrorActionPreference = 'Stop'
[void] [Reflection.Assembly]::LoadWithPartialName('System.Web.Extensions')
$json = New-Object System.Web.Script.Serialization.JavaScriptSerializer
$json.MaxJsonLength = 64MB

# The longest command in bytes. What is longer is no command of Misfire.
$LONGEST = 16MB
# The most that a program may print, bytes; the rest is left out.
$MOST = 16MB

$programs = @{}
$files = @{}
$next = 1

function Start-Program($arguments) {
    $start = New-Object Diagnostics.ProcessStartInfo
    $start.FileName = [string] $arguments['path']
    $words = @()
    foreach ($word in @($arguments['arg'])) {
        if ($null -eq $word) { continue }
        # As CommandLineToArgvW takes it apart: backslashes count only before a quote.
        $text = [string] $word
        if ($text -eq '' -or $text -match '[\s"]') {
            $text = [regex]::Replace($text, '(\\*)"', '$1$1\"')
            $text = '"' + [regex]::Replace($text, '(\\+)$', '$1$1') + '"'
        }
        $words += $text
    }
    $start.Arguments = $words -join ' '
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [Diagnostics.Process]::Start($start)
    if ($arguments.ContainsKey('input-data')) {
        $bytes = [Convert]::FromBase64String([string] $arguments['input-data'])
        $process.StandardInput.BaseStream.Write($bytes, 0, $bytes.Length)
    }
    $process.StandardInput.Close()
    # Both streams are read while the program runs, so that it never waits for a reader.
    $streams = @()
    foreach ($from in @($process.StandardOutput.BaseStream, $process.StandardError.BaseStream)) {
        $stream = @{ From = $from; Bytes = (New-Object byte[] 65536); To = (New-Object IO.MemoryStream); Open = $true }
        $stream.Wait = $from.BeginRead($stream.Bytes, 0, 65536, $null, $null)
        $streams += $stream
    }
    $id = $process.Id
    $script:programs[$id] = @{ Process = $process; Streams = $streams }
    return @{ pid = $id }
}

function Read-Streams($program) {
    foreach ($stream in $program.Streams) {
        while ($stream.Open -and $stream.Wait.IsCompleted) {
            $length = $stream.From.EndRead($stream.Wait)
            if ($length -eq 0) { $stream.Open = $false; break }
            if ($stream.To.Length -lt $MOST) { $stream.To.Write($stream.Bytes, 0, $length) }
            $stream.Wait = $stream.From.BeginRead($stream.Bytes, 0, 65536, $null, $null)
        }
    }
}

function Get-Program($arguments) {
    $id = [int] $arguments['pid']
    if (-not $programs.ContainsKey($id)) { throw "no such program: $id" }
    $program = $programs[$id]
    Read-Streams $program
    if (-not $program.Process.HasExited) { return @{ exited = $false } }
    # What a child of the program still holds open is not waited for.
    $until = (Get-Date).AddSeconds(2)
    while (@($program.Streams | Where-Object { $_.Open }).Count -gt 0 -and (Get-Date) -lt $until) {
        Read-Streams $program
        [Threading.Thread]::Sleep(5)
    }
    $script:programs.Remove($id)
    $answer = @{ exited = $true; exitcode = $program.Process.ExitCode }
    $names = @('out-data', 'err-data')
    for ($i = 0; $i -lt 2; $i++) {
        $bytes = $program.Streams[$i].To.ToArray()
        if ($bytes.Length -gt 0) { $answer[$names[$i]] = [Convert]::ToBase64String($bytes) }
    }
    return $answer
}

function Open-File($arguments) {
    $mode = if ($arguments.ContainsKey('mode')) { [string] $arguments['mode'] } else { 'r' }
    $path = [string] $arguments['path']
    $stream = switch -regex ($mode) {
        '^r' { New-Object IO.FileStream $path, 'Open', 'Read', 'ReadWrite' }
        '^w' { New-Object IO.FileStream $path, 'Create', 'ReadWrite', 'Read' }
        '^a' { New-Object IO.FileStream $path, 'Append', 'Write', 'Read' }
        default { throw "no such mode: $mode" }
    }
    $id = $script:next
    $script:next = $id + 1
    $script:files[$id] = $stream
    return $id
}

function Get-File($arguments) {
    $id = [int] $arguments['handle']
    if (-not $files.ContainsKey($id)) { throw "no such handle: $id" }
    return $files[$id]
}

function Invoke-Command-Of([string] $name, $arguments) {
    switch ($name) {
        'guest-ping' { return @{} }
        'guest-sync' { return $arguments['id'] }
        'guest-sync-delimited' { return $arguments['id'] }
        'guest-info' { return @{ version = 'misfire-1'; supported_commands = @() } }
        'guest-exec' { return Start-Program $arguments }
        'guest-exec-status' { return Get-Program $arguments }
        'guest-file-open' { return Open-File $arguments }
        'guest-file-write' {
            $bytes = [Convert]::FromBase64String([string] $arguments['buf-b64'])
            $count = $bytes.Length
            if ($arguments.ContainsKey('count')) { $count = [Math]::Min($count, [int] $arguments['count']) }
            (Get-File $arguments).Write($bytes, 0, $count)
            return @{ count = $count; eof = $false }
        }
        'guest-file-read' {
            $count = if ($arguments.ContainsKey('count')) { [Math]::Min(1048576, [int] $arguments['count']) } else { 4096 }
            $bytes = New-Object byte[] $count
            $length = (Get-File $arguments).Read($bytes, 0, $count)
            return @{ count = $length; 'buf-b64' = [Convert]::ToBase64String($bytes, 0, $length); eof = ($length -eq 0) }
        }
        'guest-file-flush' { (Get-File $arguments).Flush(); return @{} }
        'guest-file-close' {
            (Get-File $arguments).Close()
            $script:files.Remove([int] $arguments['handle'])
            return @{}
        }
        'guest-shutdown' {
            $how = if ($arguments['mode'] -eq 'reboot') { '/r' } else { '/s' }
            [void] [Diagnostics.Process]::Start('shutdown.exe', "$how /f /t 0")
            return $null
        }
        default { throw "CommandNotFound: $name" }
    }
}

function Get-Answer([string] $line) {
    $id = $null
    try {
        $command = $json.DeserializeObject($line)
        if ($command.ContainsKey('id')) { $id = $command['id'] }
        $arguments = @{}
        if ($command.ContainsKey('arguments')) { $arguments = $command['arguments'] }
        $result = Invoke-Command-Of ([string] $command['execute']) $arguments
        if ($null -eq $result) { return $null }
        $answer = @{ 'return' = $result }
        $delimited = $command['execute'] -eq 'guest-sync-delimited'
    } catch {
        $answer = @{ error = @{ class = 'GenericError'; desc = [string] $_.Exception.Message } }
        $delimited = $false
    }
    if ($null -ne $id) { $answer['id'] = $id }
    $text = $json.Serialize($answer) + "`n"
    $bytes = [Text.Encoding]::UTF8.GetBytes($text)
    if ($delimited) { $bytes = [byte[]] (@(255) + $bytes) }
    return , $bytes
}

if (Test-Path Variable:MisfirePort) {
    $reads = $MisfirePort.BaseStream
    $writes = $reads
} elseif (Test-Path Variable:MisfireTyped) {
    $reads = [Console]::OpenStandardInput()
    $writes = [Console]::OpenStandardOutput()
} else {
    $port = New-Object IO.Ports.SerialPort 'COM2', 115200, 'None', 8, 'One'
    $port.ReadBufferSize = 65536
    $port.Open()
    $reads = $port.BaseStream
    $writes = $reads
}
$line = New-Object IO.MemoryStream
$chunk = New-Object byte[] 4096
while ($true) {
    $length = $reads.Read($chunk, 0, $chunk.Length)
    for ($i = 0; $i -lt $length; $i++) {
        $byte = $chunk[$i]
        if ($byte -eq 255) { $line.SetLength(0); continue }
        if ($byte -ne 10) {
            if ($line.Length -lt $LONGEST) { $line.WriteByte($byte) }
            continue
        }
        $text = [Text.Encoding]::UTF8.GetString($line.ToArray()).Trim()
        $line.SetLength(0)
        if ($text -eq '') { continue }
        $answer = Get-Answer $text
        if ($null -ne $answer) { $writes.Write($answer, 0, $answer.Length); $writes.Flush() }
    }
}
