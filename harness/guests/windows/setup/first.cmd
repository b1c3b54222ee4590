@echo off
rem Begins at the first logon, from the medium with the answers: first.cmd X:
rem What is needed later is copied to the disk; the rest is apply.cmd.
set MEDIUM=%~1
if "%MEDIUM%"=="" set MEDIUM=%~d0
mode COM2: BAUD=115200 PARITY=n DATA=8 STOP=1 >nul 2>&1
echo MISFIRE-PREPARE logon>COM2
xcopy /y /i /q "%MEDIUM%\misfire" C:\misfire >nul
if errorlevel 1 goto failed
call C:\misfire\apply.cmd %MEDIUM%
exit /b 0
:failed
echo MISFIRE-PREPARE failed copy %errorlevel%>COM2
exit /b 1
