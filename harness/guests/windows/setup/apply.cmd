@echo off
rem Settings for a guest of Misfire: apply.cmd [X:], as an administrator. X: is where the medium is.
rem Each step is told over COM2, with its exit status when it failed. At the end the machine shuts down.
rem What was cut off is done again at the next start, by a task: apply.cmd again.
setlocal EnableExtensions
set MEDIUM=%~1
if /i "%MEDIUM%"=="again" if exist C:\misfire\done.txt exit /b 0
if /i "%MEDIUM%"=="again" set MEDIUM=
if "%MEDIUM%"=="" set MEDIUM=%~d0
set FAILED=
mode COM2: BAUD=115200 PARITY=n DATA=8 STOP=1 >nul 2>&1
fltmc >nul 2>&1
if errorlevel 1 goto nobody
if /i not "%~dp0"=="C:\misfire\" xcopy /y /i /q "%~dp0*" C:\misfire >nul
if exist C:\misfire\done.txt del C:\misfire\done.txt
call :step again schtasks /create /f /tn MisfireSettings /sc onstart /ru SYSTEM /rl HIGHEST /tr "C:\misfire\apply.cmd again"

rem Test-signed drivers, and a kernel debugger on COM1.
call :step testsigning bcdedit /set testsigning on
call :step dbgsettings bcdedit /dbgsettings serial debugport:1 baudrate:115200
call :step debug bcdedit /debug on
rem No recovery screen after a crash.
call :step bootstatus bcdedit /set {default} bootstatuspolicy ignoreallfailures
call :step recovery bcdedit /set {default} recoveryenabled no

rem DbgPrint and DbgPrintEx of every component that drivers use.
set FILTER=HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Debug Print Filter
call :step filter reg add "%FILTER%" /v DEFAULT /t REG_DWORD /d 0xF /f
for %%c in (IHVDRIVER IHVVIDEO IHVAUDIO IHVNETWORK IHVSTREAMING IHVBUS) do call :step filter reg add "%FILTER%" /v %%c /t REG_DWORD /d 0xFFFFFFFF /f

rem A crash writes a kernel dump and starts the machine again; so does an NMI.
set CRASH=HKLM\SYSTEM\CurrentControlSet\Control\CrashControl
call :step crash reg add "%CRASH%" /v AutoReboot /t REG_DWORD /d 1 /f
call :step crash reg add "%CRASH%" /v CrashDumpEnabled /t REG_DWORD /d 2 /f
call :step crash reg add "%CRASH%" /v NMICrashDump /t REG_DWORD /d 1 /f
call :step crash reg add "%CRASH%" /v AlwaysKeepMemoryDump /t REG_DWORD /d 1 /f

rem No fast start-up, no sleep: a driver that starts anew starts anew.
call :step hibernate powercfg -h off
call :step faststart reg add "HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Power" /v HiberbootEnabled /t REG_DWORD /d 0 /f
call :step power powercfg -change -standby-timeout-ac 0
call :step power powercfg -change -monitor-timeout-ac 0
call :step power powercfg -change -disk-timeout-ac 0

rem Quiet: no updates, no firewall, no questions.
call :step updates reg add HKLM\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate\AU /v NoAutoUpdate /t REG_DWORD /d 1 /f
call :step updates sc config wuauserv start= disabled
call :step firewall netsh advfirewall set allprofiles state off
call :step questions reg add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System /v EnableLUA /t REG_DWORD /d 0 /f
call :step questions reg add HKLM\SOFTWARE\Microsoft\ServerManager /v DoNotOpenServerManagerAtLogon /t REG_DWORD /d 1 /f

rem Certificates of test-signed drivers, if the medium has any.
for %%f in ("%MEDIUM%\misfire\*.cer") do call :certificate "%%~f"

rem The agent on COM2: QEMU's own if a medium of virtio-win is there, else a small one.
set BITS=x86_64
if /i "%PROCESSOR_ARCHITECTURE%"=="x86" set BITS=i386
set GA=
for %%d in (C D E F G H I J K L) do if exist %%d:\guest-agent\qemu-ga-%BITS%.msi set GA=%%d:\guest-agent\qemu-ga-%BITS%.msi
if "%GA%"=="" goto own
call :step agent msiexec /i "%GA%" /qn /norestart
call :step agent reg add HKLM\SYSTEM\CurrentControlSet\Services\QEMU-GA /v ImagePath /t REG_EXPAND_SZ /d "\"%ProgramFiles%\Qemu-ga\qemu-ga.exe\" -d --retry-path -m isa-serial -p COM2" /f
set AGENT=qemu-ga
goto agreed
:own
call :step agent schtasks /create /f /tn Misfire /sc onstart /ru SYSTEM /rl HIGHEST /tr "powershell -NoProfile -ExecutionPolicy Bypass -File C:\misfire\agent.ps1"
set AGENT=own
:agreed

ver | findstr /r "[0-9]" >C:\misfire\version.txt
for /f "delims=" %%v in (C:\misfire\version.txt) do echo MISFIRE-PREPARE version %%v>COM2
if not "%FAILED%"=="" goto incomplete
echo MISFIRE-PREPARE done agent=%AGENT%>COM2
echo done>C:\misfire\done.txt
schtasks /delete /f /tn MisfireSettings >nul 2>&1
shutdown /s /f /t 5
exit /b 0

:incomplete
echo MISFIRE-PREPARE failed %FAILED%>COM2
exit /b 1

:nobody
echo MISFIRE-PREPARE failed administrator 5>COM2
echo Run this as an administrator.
exit /b 5

:certificate
call :step certificate certutil -addstore -f Root %1
call :step certificate certutil -addstore -f TrustedPublisher %1
exit /b 0

:step
rem The first word is the name, the rest the command as it stands: %1 and %2 would lose each `=`.
set ALL=%*
for /f "tokens=1*" %%a in ("%ALL%") do (
  set STEP=%%a
  set COMMAND=%%b
)
%COMMAND% >>C:\misfire\apply.log 2>&1
set STATUS=%errorlevel%
if "%STATUS%"=="3010" set STATUS=0
rem Without these the image is of no use; every other setting is told, and done without.
if not "%STATUS%"=="0" for %%n in (testsigning dbgsettings debug agent) do if "%STEP%"=="%%n" set FAILED=%STEP% %STATUS%
echo MISFIRE-PREPARE step %STEP% %STATUS%>COM2
exit /b 0
