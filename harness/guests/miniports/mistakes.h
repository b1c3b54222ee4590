/* MISTAKE(name, the name in scenarios) */
MISTAKE(NO_READ_BACK, "no-read-back")
MISTAKE(QUEUE_VECTOR_AFTER_ENABLE, "queue-vector-after-enable")
MISTAKE(NOTIFY_BEFORE_DRIVER_OK, "notify-before-driver-ok")
MISTAKE(NO_RESET_WAIT, "no-reset-wait")
MISTAKE(NO_FEATURES_OK_CHECK, "no-features-ok-check")
