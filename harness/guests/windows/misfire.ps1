# What the harness has a Windows do. It is copied into the guest and called for each command:
#
#   powershell.exe -File misfire.ps1 node BUS DEVICE
#   powershell.exe -File misfire.ps1 interrupts BUS [limit=N] [msi=0|1]
#   powershell.exe -File misfire.ps1 load KIND dev=N bus=BUS [blocks=] [size=] [lba=]
#   powershell.exe -File misfire.ps1 device dev=N stop|start|restart bus=BUS
#   powershell.exe -File misfire.ps1 wait-config dev=N bus=BUS
#   powershell.exe -File misfire.ps1 idle ms=N
#   powershell.exe -File misfire.ps1 state dev=N bus=BUS
#   powershell.exe -File misfire.ps1 slot-out BUS how=surprise|orderly|eject
#   powershell.exe -File misfire.ps1 slot-in BUS
#
# The answer is a line that begins with `MISFIRE: `. It needs Windows PowerShell 2 or newer; no text that
# Windows translates is read. It has not been run on a Windows yet.

$ErrorActionPreference = 'Stop'
$SECTOR = 512

function Say([string] $text) { [Console]::Out.WriteLine("MISFIRE: $text") }
function Note([string] $text) { [Console]::Out.WriteLine("misfire.ps1: $text") }

# The `key=value` words among the arguments.
function Read-Values([string[]] $words) {
    $values = @{}
    foreach ($word in $words) {
        $at = $word.IndexOf('=')
        if ($at -gt 0) { $values[$word.Substring(0, $at)] = $word.Substring($at + 1) }
    }
    return $values
}

function Get-Number($values, [string] $key, [long] $default) {
    if ($values.ContainsKey($key)) { return [long] $values[$key] }
    return $default
}

# The first of the words that is no `key=value`.
function Get-Word([string[]] $words) {
    foreach ($word in $words) {
        if ($word.IndexOf('=') -lt 0) { return $word }
    }
    return ''
}

$NodeSource = @'
using System;
using System.Runtime.InteropServices;
using System.Text;

public static class MisfireNode {
    [DllImport("cfgmgr32.dll", CharSet = CharSet.Unicode)]
    static extern uint CM_Locate_DevNodeW(out uint node, string id, uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Get_Parent(out uint parent, uint node, uint flags);
    [DllImport("cfgmgr32.dll", CharSet = CharSet.Unicode)]
    static extern uint CM_Get_Device_IDW(uint node, StringBuilder id, uint length, uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Reenumerate_DevNode(uint node, uint flags);
    [DllImport("cfgmgr32.dll", CharSet = CharSet.Unicode)]
    static extern uint CM_Query_And_Remove_SubTreeW(uint node, out int veto, StringBuilder name, int length,
        uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Get_DevNode_Status(out uint status, out uint problem, uint node, uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Setup_DevNode(uint node, uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Disable_DevNode(uint node, uint flags);
    [DllImport("cfgmgr32.dll")]
    static extern uint CM_Enable_DevNode(uint node, uint flags);

    // CM_LOCATE_DEVNODE_NORMAL: a node that is there. 0: there is none.
    static uint Find(string id) {
        uint node;
        return CM_Locate_DevNodeW(out node, id, 0) == 0 ? node : 0;
    }

    public static string Parent(string id) {
        uint parent;
        StringBuilder name = new StringBuilder(400);
        if (CM_Get_Parent(out parent, Find(id), 0) != 0) return null;
        return CM_Get_Device_IDW(parent, name, 400, 0) == 0 ? name.ToString() : null;
    }

    // CM_REENUMERATE_SYNCHRONOUS. Without an id: everything.
    public static uint Rescan(string id) { return CM_Reenumerate_DevNode(Find(id), 1); }

    // CM_REMOVE_UI_NOT_OK and CM_REMOVE_NO_RESTART. 0, or 256 and the kind of the veto, or the CONFIGRET.
    public static uint Remove(string id) {
        int veto;
        uint result = CM_Query_And_Remove_SubTreeW(Find(id), out veto, new StringBuilder(400), 400, 3);
        return result == 0x17 ? 256 + (uint) veto : result;
    }

    // DN_STARTED.
    public static bool IsStarted(string id) {
        uint status, problem;
        return CM_Get_DevNode_Status(out status, out problem, Find(id), 0) == 0 && (status & 8) != 0;
    }

    // CM_SETUP_DEVNODE_RESET: what was removed may be started again, when its bus is looked at next.
    public static uint Reset(string id) { return CM_Setup_DevNode(Find(id), 4); }

    // CM_DISABLE_UI_NOT_OK.
    public static uint Disable(string id) { return CM_Disable_DevNode(Find(id), 4); }

    public static uint Enable(string id) { return CM_Enable_DevNode(Find(id), 0); }
}
'@

function Use-Nodes { if (-not ('MisfireNode' -as [type])) { Add-Type -TypeDefinition $NodeSource } }

# Before Windows 10 there are no commands for device nodes.
function Test-Command([string] $name) { return $null -ne (Get-Command $name -ErrorAction SilentlyContinue) }

function Stop-Node([string] $id) {
    if (Test-Command 'Disable-PnpDevice') { Disable-PnpDevice -InstanceId $id -Confirm:$false; return }
    Use-Nodes
    $result = [MisfireNode]::Disable($id)
    if ($result -ne 0) { throw "CM_Disable_DevNode: $result" }
}

function Start-Node([string] $id) {
    if (Test-Command 'Enable-PnpDevice') { Enable-PnpDevice -InstanceId $id -Confirm:$false; return }
    Use-Nodes
    $result = [MisfireNode]::Enable($id)
    if ($result -ne 0) { throw "CM_Enable_DevNode: $result" }
}

# The entity of the function at this place. The registry has the place in a form that is not translated.
function Find-Node([int] $bus, [int] $device) {
    foreach ($entity in Get-WmiObject Win32_PnPEntity) {
        if ($entity.PNPDeviceID -notlike 'PCI\*') { continue }
        $key = 'HKLM:\SYSTEM\CurrentControlSet\Enum\' + $entity.PNPDeviceID
        $place = (Get-ItemProperty -LiteralPath $key -ErrorAction SilentlyContinue).LocationInformation
        if ($place -match '\((\d+),(\d+),(\d+)\)\s*$') {
            if ([int] $Matches[1] -eq $bus -and [int] $Matches[2] -eq $device -and [int] $Matches[3] -eq 0) {
                return $entity
            }
        }
    }
    return $null
}

function Find-Resources($entity, [string] $class) {
    $id = $entity.DeviceID.Replace('\', '\\')
    $query = "ASSOCIATORS OF {Win32_PnPEntity.DeviceID='$id'} WHERE ResultClass=$class"
    return @(Get-WmiObject -Query $query -ErrorAction SilentlyContinue)
}

# The NTSTATUS behind a problem code, where Windows keeps it.
function Get-ProblemStatus($entity) {
    try {
        $property = Get-PnpDeviceProperty -InstanceId $entity.PNPDeviceID -KeyName 'DEVPKEY_Device_ProblemStatus'
        if ($null -ne $property.Data) { return '0x{0:X8}' -f [uint32] $property.Data }
    } catch { }
    return '0x0'
}

function Show-Node([int] $bus, [int] $device) {
    $entity = Find-Node $bus $device
    if ($null -eq $entity) { Say 'node found=no'; return }
    $messages = 0
    $lines = 0
    foreach ($irq in Find-Resources $entity 'Win32_IRQResource') {
        # The numbers of messages are negative, or above 2147483647 where the property is unsigned.
        $number = [int64] $irq.IRQNumber
        if ($number -lt 0 -or $number -gt 2147483647) { $messages++ } else { $lines++ }
    }
    $memory = (Find-Resources $entity 'Win32_DeviceMemoryAddress').Count
    $problem = [int] $entity.ConfigManagerErrorCode
    $status = Get-ProblemStatus $entity
    $service = [string] $entity.Service
    Say ("node found=yes problem=$problem ntstatus=$status status=$($entity.Status) service=$service " +
        "messages=$messages lines=$lines memory=$memory id=$($entity.PNPDeviceID)")
}

# What the INF would have said of the device's interrupts; it counts from the device's next start on.
function Set-Interrupts([int] $bus, $values) {
    $deadline = (Get-Date).AddSeconds(60)
    do {
        $entity = Find-Node $bus 0
        if ($null -eq $entity) { Start-Sleep -Milliseconds 300 }
    } until ($null -ne $entity -or (Get-Date) -gt $deadline)
    if ($null -eq $entity) { Say 'done failed interrupts reason=no-device'; return }
    $key = 'HKLM:\SYSTEM\CurrentControlSet\Enum\' + $entity.PNPDeviceID +
        '\Device Parameters\Interrupt Management\MessageSignaledInterruptProperties'
    New-Item -Path $key -Force | Out-Null
    foreach ($pair in @(@('limit', 'MessageNumberLimit'), @('msi', 'MSISupported'))) {
        if ($values.ContainsKey($pair[0])) {
            $number = [int] $values[$pair[0]]
            New-ItemProperty -LiteralPath $key -Name $pair[1] -PropertyType DWord -Value $number -Force | Out-Null
        }
    }
    Stop-Node $entity.PNPDeviceID
    # It is set now. Whether its driver starts it with that is looked at next.
    try { Start-Node $entity.PNPDeviceID } catch { Note $_.Exception.Message }
    Say 'done ok interrupts'
}

function Find-Disk($entity) {
    Use-Nodes
    foreach ($disk in Get-WmiObject Win32_DiskDrive) {
        if ([MisfireNode]::Parent($disk.PNPDeviceID) -eq $entity.PNPDeviceID) { return $disk }
    }
    return $null
}

$DiskSource = @'
using System;
using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

public sealed class MisfireDisk : IDisposable {
    [DllImport("kernel32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
    static extern SafeFileHandle CreateFileW(string name, uint access, uint share, IntPtr security,
        uint disposition, uint flags, IntPtr template);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool SetFilePointerEx(SafeFileHandle file, long distance, out long position, uint method);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool ReadFile(SafeFileHandle file, IntPtr buffer, uint count, out uint done, IntPtr overlapped);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool WriteFile(SafeFileHandle file, IntPtr buffer, uint count, out uint done, IntPtr overlapped);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool FlushFileBuffers(SafeFileHandle file);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern IntPtr VirtualAlloc(IntPtr address, UIntPtr size, uint type, uint protection);

    readonly SafeFileHandle file;
    readonly IntPtr buffer;
    readonly int size;

    // GENERIC_READ | GENERIC_WRITE; shared; OPEN_EXISTING; FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH.
    public MisfireDisk(string name, int bytes) {
        size = bytes;
        file = CreateFileW(name, 0xC0000000, 3, IntPtr.Zero, 3, 0xA0000000, IntPtr.Zero);
        if (file.IsInvalid) throw new Win32Exception();
        buffer = VirtualAlloc(IntPtr.Zero, (UIntPtr) (uint) bytes, 0x3000, 4);
        if (buffer == IntPtr.Zero) throw new Win32Exception();
    }

    void Seek(long offset) {
        long position;
        if (!SetFilePointerEx(file, offset, out position, 0)) throw new Win32Exception();
    }

    // Every eight bytes say where they belong.
    static long Word(long offset, long salt) { return offset * 2654435761L ^ salt; }

    public void Write(long offset, long salt) {
        for (int at = 0; at < size; at += 8) Marshal.WriteInt64(buffer, at, Word(offset + at, salt));
        Seek(offset);
        uint done;
        if (!WriteFile(file, buffer, (uint) size, out done, IntPtr.Zero) || done != size) throw new Win32Exception();
    }

    public void Read(long offset) {
        Seek(offset);
        uint done;
        if (!ReadFile(file, buffer, (uint) size, out done, IntPtr.Zero) || done != size) throw new Win32Exception();
    }

    public bool Holds(long offset, long salt) {
        for (int at = 0; at < size; at += 8)
            if (Marshal.ReadInt64(buffer, at) != Word(offset + at, salt)) return false;
        return true;
    }

    public void Flush() { if (!FlushFileBuffers(file)) throw new Win32Exception(); }

    public void Dispose() { file.Dispose(); }
}
'@

function Invoke-Load([string] $kind, $values) {
    $dev = Get-Number $values 'dev' 0
    $blocks = Get-Number $values 'blocks' 1
    $size = [long] ([Math]::Ceiling((Get-Number $values 'size' 4096) / 4096.0) * 4096)
    $first = (Get-Number $values 'lba' 0) * $SECTOR
    $fields = "op=$kind dev=$dev blocks=$blocks"
    if (@('read', 'write', 'verify', 'mixed', 'flush') -notcontains $kind) {
        Say "done failed load reason=unsupported $fields"
        return
    }
    $entity = Find-Node (Get-Number $values 'bus' 0) 0
    $disk = $null
    $deadline = (Get-Date).AddSeconds(30)
    while ($null -ne $entity -and $null -eq $disk -and (Get-Date) -lt $deadline) {
        $disk = Find-Disk $entity
        if ($null -eq $disk) { Start-Sleep -Milliseconds 200 }
    }
    if ($null -eq $disk) { Say "done failed load reason=no-device $fields"; return }
    # A server brings a new disk in offline and read-only.
    try { Set-Disk -Number $disk.Index -IsReadOnly $false } catch { }
    Add-Type -TypeDefinition $DiskSource
    $salt = 0x4D69736669726531L
    $errors = 0
    $open = $null
    try {
        $open = New-Object MisfireDisk ($disk.DeviceID, [int] $size)
        $fit = [Math]::Max(1, [Math]::Floor(([long] $disk.Size - $first) / $size))
        for ($n = 0; $n -lt $blocks; $n++) {
            $offset = $first + ($n % $fit) * $size
            if ($kind -eq 'flush') { $open.Flush(); continue }
            if ($kind -ne 'read') { $open.Write($offset, $salt) }
            if ($kind -ne 'write') { $open.Read($offset) }
            if ($kind -eq 'verify' -and -not $open.Holds($offset, $salt)) { $errors++ }
        }
    } catch {
        Note $_.Exception.Message
        Say "done failed load reason=io $fields"
        return
    } finally {
        if ($null -ne $open) { $open.Dispose() }
    }
    if ($errors -gt 0) { Say "done failed load reason=errors $fields errors=$errors"; return }
    Say "done ok load $fields errors=0"
}

function Invoke-Device([string] $what, $values) {
    $dev = Get-Number $values 'dev' 0
    $entity = Find-Node (Get-Number $values 'bus' 0) 0
    if ($null -eq $entity) { Say "done failed device reason=no-device op=$what dev=$dev"; return }
    try {
        if ($what -ne 'start') { Stop-Node $entity.PNPDeviceID }
        if ($what -ne 'stop') { Start-Node $entity.PNPDeviceID }
    } catch {
        Note $_.Exception.Message
        Say "done failed device reason=refused op=$what dev=$dev"
        return
    }
    Say "done ok device op=$what dev=$dev"
}

# Waits until the disk has another size than when it was asked for last, at first than when it had started.
function Wait-Config($values) {
    $dev = Get-Number $values 'dev' 0
    $kept = "C:\misfire\size.$dev"
    $before = if (Test-Path $kept) { [string] (Get-Content $kept) } else { $null }
    $deadline = (Get-Date).AddSeconds(30)
    do {
        $entity = Find-Node (Get-Number $values 'bus' 0) 0
        $disk = if ($null -ne $entity) { Find-Disk $entity } else { $null }
        $now = if ($null -ne $disk) { [string] $disk.Size } else { $null }
        if ($null -eq $before) { $before = $now }
        if ($now -ne $before) {
            Set-Content $kept $now
            Say "done ok wait-config dev=$dev shows=$now"
            return
        }
        if (Test-Command 'Update-HostStorageCache') { Update-HostStorageCache }
        Start-Sleep -Milliseconds 200
    } while ((Get-Date) -lt $deadline)
    Say "done failed wait-config reason=timeout dev=$dev"
}

function Invoke-Idle([long] $ms) {
    Start-Sleep -Milliseconds $ms
    Say 'done ok idle'
}

# Where a bus hangs is kept: when its device is gone nothing else says so.
function Get-Kept([int] $bus) { return "C:\misfire\slot.$bus" }

# The device of a slot is let go. It is gone when no driver has it started any more.
function Remove-FromSlot([int] $bus, $values) {
    $entity = Find-Node $bus 0
    if ($null -eq $entity) { Say 'slot gone'; return }
    Use-Nodes
    $id = $entity.PNPDeviceID
    $parent = [MisfireNode]::Parent($id)
    Set-Content (Get-Kept $bus) @($parent, $id)
    if ($values['how'] -eq 'surprise') {
        # Nothing answers in the slot any more: its bus finds that out when it looks.
        [void] [MisfireNode]::Rescan($parent)
    } elseif ($values['how'] -eq 'orderly') {
        $result = [MisfireNode]::Remove($id)
        if ($result -ne 0) { Say "slot stays reason=$result"; return }
    }
    $deadline = (Get-Date).AddSeconds(60)
    while ([MisfireNode]::IsStarted($id)) {
        if ((Get-Date) -gt $deadline) { Say 'slot stays reason=started'; return }
        Start-Sleep -Milliseconds 100
    }
    Say 'slot gone'
}

# A device is in its slot again: what was only let go may start again, and its bus looks.
function Add-ToSlot([int] $bus) {
    Use-Nodes
    $kept = @(Get-Content (Get-Kept $bus) -ErrorAction SilentlyContinue)
    $parent = if ($kept.Count -gt 0) { $kept[0] } else { $null }
    if ($kept.Count -gt 1 -and -not [MisfireNode]::IsStarted($kept[1])) { [void] [MisfireNode]::Reset($kept[1]) }
    [void] [MisfireNode]::Rescan($parent)
    Say 'slot in'
}

$verb = [string] $args[0]
$rest = @($args | Select-Object -Skip 1 | ForEach-Object { [string] $_ })
$values = Read-Values $rest
try {
    switch ($verb) {
        'node' { Show-Node ([int] $rest[0]) ([int] $rest[1]) }
        'interrupts' { Set-Interrupts ([int] $rest[0]) $values }
        'load' { Invoke-Load (Get-Word $rest) $values }
        'device' { Invoke-Device (Get-Word $rest) $values }
        'wait-config' { Wait-Config $values }
        'idle' { Invoke-Idle (Get-Number $values 'ms' 0) }
        'slot-out' { Remove-FromSlot ([int] $rest[0]) $values }
        'slot-in' { Add-ToSlot ([int] $rest[0]) }
        'state' { Show-Node (Get-Number $values 'bus' 0) 0; Say 'done ok state' }
        default { Say "done failed $verb reason=unknown" }
    }
} catch {
    Note $_.Exception.Message
    Say "done failed $verb reason=script"
}
